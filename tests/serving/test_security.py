"""Addresses of this machine, and certificates that cannot be used."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pipeline.serving.security import TlsError, is_loopback, tls_context


def test_loopback_is_known() -> None:
    assert all(is_loopback(host) for host in ("localhost", "127.0.0.1", "::1", "127.8.8.8"))
    assert not any(is_loopback(host) for host in ("0.0.0.0", "192.168.0.4", "robot"))


def test_a_certificate_and_its_key_make_a_context(certificate: tuple[Path, Path]) -> None:
    context = tls_context(*certificate)
    assert isinstance(context, ssl.SSLContext)
    assert context.num_tickets == 0  # see tls_context
    assert tls_context(None, None) is None


def test_files_that_cannot_be_used_are_named(
    certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    cert, key = certificate
    other, locked = tmp_path / "other.pem", tmp_path / "locked.pem"
    private = ec.generate_private_key(ec.SECP256R1())
    for path, encryption in (
        (other, serialization.NoEncryption()),
        (locked, serialization.BestAvailableEncryption(b"secret")),
    ):
        path.write_bytes(
            private.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
            )
        )
    for files, words in (
        ((cert, None), "give both --tls-cert and --tls-key"),
        ((None, key), "give both --tls-cert and --tls-key"),
        ((tmp_path / "no.pem", key), r"no\.pem: no such file"),
        ((cert, other), r"cert\.pem, .*other\.pem: not a certificate and its key: .*MISMATCH"),
        ((cert, other), "expected two PEM files that belong together$"),
        ((key, key), "not a certificate and its key"),
        ((cert, locked), r"locked\.pem: the key is encrypted"),
    ):
        with pytest.raises(TlsError, match=words):
            tls_context(*files)

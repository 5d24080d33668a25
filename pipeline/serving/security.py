"""Who may talk to a policy server, and who may listen: addresses and TLS."""

from __future__ import annotations

import ipaddress
import ssl
from pathlib import Path

from pipeline.errors import PipelineError


class TlsError(PipelineError):
    """A certificate or its key cannot be used."""


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine only.

    Args:
        host: name or address.
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def tls_context(certificate: str | Path | None, key: str | Path | None) -> ssl.SSLContext | None:
    """The TLS settings of a server; None where neither file is given.

    Args:
        certificate: PEM file with the server's certificate, followed by its intermediates.
        key: PEM file with the private key, not encrypted.

    Raises:
        TlsError: only one of the files is given, one cannot be read, or they do not belong
            together.
    """
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise TlsError(
            "TLS needs a certificate and its key: give both --tls-cert and --tls-key, or neither"
        )
    for file in (certificate, key):
        if not Path(file).is_file():
            raise TlsError(f"{file}: no such file; expected a PEM file")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # Tickets arrive while the client sends its first request. The client of websockets reads and
    # writes in two threads, which OpenSSL does not allow: one connection in a thousand broke.
    context.num_tickets = 0

    def refuse_password() -> str:
        raise TlsError(f"{key}: the key is encrypted; expected a PEM file without a password")

    try:
        context.load_cert_chain(certificate, key, password=refuse_password)
    except (ssl.SSLError, OSError) as error:
        raise TlsError(
            f"{certificate}, {key}: not a certificate and its key: {error}; expected two PEM "
            "files that belong together"
        ) from error
    return context

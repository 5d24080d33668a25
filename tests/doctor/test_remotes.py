"""Each cause has its sentence. The chains were raised by real servers (tests/remotes)."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from pipeline.doctor import remotes

SSH = "ssh://me@host/store"
S3 = "s3://bucket/results"


def _said(url: str, *causes: tuple[str, str], keyfile: str | None = None) -> dict[str, object]:
    return {
        "name": "storage", "url": url, "endpointurl": None, "keyfile": keyfile,
        "causes": list(causes), "path": url,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("url", "kind", "text", "found", "remedy"),
    [
        (SSH, "gaierror", "[Errno -2] Name or service not known", "no machine of that name", "url"),
        (SSH, "TimeoutError", "", "cannot be reached", "VPN"),
        (SSH, "KeyImportError", "Passphrase must be specified", "is locked", "ask_passphrase"),
        (SSH, "SFTPPermissionDenied", "Permission denied", "not read the folder", "chown"),
        (S3, "NoCredentialsError", "Unable to locate credentials", "no access key", "--local"),
        (
            S3,
            "ClientError",
            "An error occurred (InvalidAccessKeyId)",
            "does not know",
            "access_key",
        ),
        (S3, "ClientError", "An error occurred (ExpiredToken)", "has expired", "log in"),
        (S3, "AccessDenied", "Access Denied.", "not for this bucket", "access_key_id"),
        (S3, "SSLError", "certificate verify failed", "SSLError: certificate", "dvc pull -v"),
        ("gs://x/y", "RemoteMissingDepsError", "gs is supported", "not installed", "make setup"),
    ],
)
def test_a_cause_is_named_with_what_to_type(
    url: str, kind: str, text: str, found: str, remedy: str
) -> None:
    told = remotes.judge(_said(url, ("OSError", ""), (kind, text)))
    if kind == "SSLError":
        told = remotes.judge(_said(url, (kind, text)))
    assert told.status == "problem"
    assert told.found.startswith(f"storage ({url}): ")
    assert found in told.found and remedy in told.remedy
    assert "{" not in told.found + told.remedy


def test_a_rule_of_one_kind_of_remote_says_nothing_of_another() -> None:
    told = remotes.judge(_said(S3, ("PermissionError", ""), ("PermissionDenied", "")))
    assert "for this bucket" in told.found


def test_an_empty_remote_and_none_are_no_problem(tmp_path: Path) -> None:
    assert remotes.judge(_said(S3, ("FileNotFoundError", S3))).status == "ok"
    assert remotes.judge(_said(SSH)).found == f"storage: {SSH}"
    none = remotes.judge({})
    assert (none.status, none.found) == ("absent", "none")
    assert "dvc remote add" in none.remedy
    folder = tmp_path / "store"
    told = remotes.judge(_said(str(folder), ("FileNotFoundError", "")))
    assert told.status == "absent" and "dvc push makes it" in told.remedy


def test_a_repository_that_dvc_cannot_read_is_a_problem(tmp_path: Path) -> None:
    told = remotes.examine(tmp_path)
    assert told.status == "problem" and "DVC cannot be asked" in told.found


def test_a_server_that_never_answers_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remotes, "TIMEOUT_S", 1.0)
    (tmp_path / ".dvc").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"ssh://me@127.0.0.1:{silent.getsockname()[1]}/store"
        config = f"[core]\n    no_scm = true\n    remote = s\n['remote \"s\"']\n    url = {url}\n"
        (tmp_path / ".dvc/config").write_text(config)
        told = remotes.examine(tmp_path)
    assert told.status == "problem" and "no answer within 1 s" in told.found

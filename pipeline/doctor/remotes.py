"""Where results are kept: whether DVC's default remote answers, and if not, what to type.

Libraries say "Forbidden" or "[Errno 2]" to a wrong key; here each cause has its own sentence.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.doctor.check import Line, Status
from pipeline.repository import last_lines

TIMEOUT_S = 30.0
"""How long a remote may take to answer, DVC's own start included."""
WORKER = Path(__file__).with_name("remote_worker.py")


PART = "remote"
"""What doctor calls it."""


@dataclass(frozen=True)
class _Rule:
    """What an exception means and what to type; `{…}` are filled in from the remote."""

    signs: tuple[str, ...]
    """Types of exceptions, or words of their texts."""
    found: str
    remedy: str
    scheme: str = ""
    """Of the remote's url; empty for any."""
    status: Status = "problem"


_SET = "dvc remote modify --local {name}"
_RULES = (
    _Rule(
        ("gaierror", "Name or service not known"),
        "no machine of that name is known",
        "correct it: dvc remote modify {name} {address} …",
    ),
    _Rule(
        ("ConnectionRefusedError", "EndpointConnectionError"),
        "the machine answers, but no server on that port",
        "start the server there, or correct the port: dvc remote modify {name} {address} …",
    ),
    _Rule(
        ("TimeoutError", "No route to host", "unreachable"),
        "cannot be reached over the network",
        "look at network, VPN and firewall; or correct it: dvc remote modify {name} {address} …",
    ),
    _Rule(
        ("RemoteMissingDepsError",), "DVC's part for such remotes is not installed", "make setup"
    ),
    _Rule(
        ("PermissionDenied",),
        "the server refuses the user or the key {keyfile}",
        f"ssh-copy-id -i {{keyfile}} USER@HOST, or another key: {_SET} keyfile ~/.ssh/KEY; "
        f"another user: {_SET} user USER",
        "ssh",
    ),
    _Rule(
        ("KeyImportError", "KeyEncryptionError"),
        "the key {keyfile} cannot be read, or is locked",
        f"ssh-add {{keyfile}}, or: {_SET} ask_passphrase true",
        "ssh",
    ),
    _Rule(
        ("SFTPPermissionDenied",),
        "the user may log in, but not read the folder",
        "on the server: chown -R USER that folder",
        "ssh",
    ),
    _Rule(
        ("SFTPNoSuchFile",),
        "no such folder on the server yet",
        "dvc push makes it; if it should be there: dvc remote modify {name} url …",
        "ssh",
        "absent",
    ),
    _Rule(
        ("NoSuchBucket",),
        "the server has no bucket {bucket}",
        "aws{endpoint} s3 mb s3://{bucket}, or correct it: dvc remote modify {name} url …",
        "s3",
    ),
    _Rule(
        ("NoCredentialsError", "PartialCredentialsError"),
        "no access key is set, or no secret",
        f"{_SET} access_key_id KEY; {_SET} secret_access_key SECRET",
        "s3",
    ),
    _Rule(
        ("InvalidAccessKeyId",),
        "the server does not know the access key",
        f"{_SET} access_key_id KEY; {_SET} secret_access_key SECRET",
        "s3",
    ),
    _Rule(
        ("SignatureDoesNotMatch",),
        "the secret does not fit the access key",
        f"{_SET} secret_access_key SECRET",
        "s3",
    ),
    _Rule(
        ("ExpiredToken",),
        "the session's token has expired",
        "log in anew, for instance: aws sso login",
        "s3",
    ),
    _Rule(
        ("AccessDenied", "PermissionError"),
        "the key is valid, but not for this bucket",
        f"have it allowed to list, read and write there, or take another: {_SET} access_key_id KEY",
        "s3",
    ),
)


def examine(root: Path) -> Line:
    """Reach for the default remote of a repository.

    Args:
        root: the repository.
    """
    try:
        # -P: the folder of the worker would hide libraries whose names it uses.
        child = subprocess.run(
            [sys.executable, "-P", str(WORKER)],
            cwd=root,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Line(
            PART,
            "problem",
            f"no answer within {TIMEOUT_S:.0f} s",
            "look at network, VPN and firewall; `dvc remote list` shows the address",
        )
    if child.returncode:
        said = last_lines(child.stderr, 1) or "it said nothing"
        return Line(
            PART,
            "problem",
            f"DVC cannot be asked: {said[:200]}",
            "correct .dvc/config, .dvc/config.local",
        )
    return judge(json.loads(child.stdout))


def judge(said: dict[str, Any]) -> Line:
    """Turn what the child found into a sentence and a remedy.

    Args:
        said: see `remote_worker.reach`.
    """
    if not said:
        remedy = "dvc remote add -d storage PATH_OR_URL, where results are to be shared"
        return Line(PART, "absent", "none", remedy)
    name, url = said["name"], said["url"]
    types = [kind for kind, _ in said["causes"]]
    texts = " ".join(text for _, text in said["causes"])
    where = f"{name} ({url})"
    if not types:
        return Line(PART, "ok", f"{name}: {url}")
    if "://" not in url:
        return _folder(where, name, Path(said.get("path", url)))
    return _by_rule(said, where, types, texts)


def _by_rule(said: dict[str, Any], where: str, types: list[str], texts: str) -> Line:
    keyfile = said["keyfile"]
    if keyfile and "FileNotFoundError" in types and keyfile in texts:
        remedy = f"{_SET} keyfile ~/.ssh/KEY".format(name=said["name"])
        return Line(PART, "problem", f"{where}: there is no key file {keyfile}", remedy)
    for rule in _RULES:
        signed = any(sign in types or sign in texts for sign in rule.signs)
        if signed and said["url"].startswith(rule.scheme):
            return _filled(rule, said, where)
    if types[0] == "FileNotFoundError":
        return Line(PART, "ok", f"{where}: answers, nothing was pushed to it yet")
    first = said["causes"][0]
    return Line(
        PART, "problem", f"{where}: {first[0]}: {first[1][:200]}", "dvc doctor; dvc pull -v"
    )


def _folder(where: str, name: str, path: Path) -> Line:
    if path.exists():
        return Line(PART, "problem", f"{where}: cannot be read", f"sudo chown -R $(id -u) {path}")
    correct = f"dvc remote modify {name} url PATH"
    if os.access(path.parent, os.W_OK):
        remedy = f"dvc push makes it; if it should be there: {correct}"
        return Line(PART, "absent", f"{where}: no folder {path} yet", remedy)
    return Line(
        PART, "problem", f"{where}: no folder {path}", f"mount it, or correct it: {correct}"
    )


def _filled(rule: _Rule, said: dict[str, Any], where: str) -> Line:
    endpoint = said["endpointurl"]
    words = {
        "name": said["name"],
        "address": "endpointurl" if endpoint else "url",
        "endpoint": f" --endpoint-url {endpoint}" if endpoint else "",
        "bucket": said["url"].removeprefix("s3://").partition("/")[0],
        "keyfile": said["keyfile"] or "~/.ssh/KEY",
    }
    found = f"{where}: {rule.found.format(**words)}"
    return Line(PART, rule.status, found, rule.remedy.format(**words))

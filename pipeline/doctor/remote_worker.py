"""Child process that reaches for DVC's default remote and says, as JSON, what became of it.

A child, because a server that does not answer is ended with it. Started by its path; imports
nothing of this project.
"""

from __future__ import annotations

import json
import socket
import sys
from typing import Any
from urllib.parse import urlsplit

CONNECT_S = 5.0
"""How long an S3 endpoint may take to accept; botocore alone would try for a quarter minute."""


def reach() -> dict[str, Any]:
    """List the remote's folder.

    Returns:
        Nothing where there is no default remote; else `name`, `url`, `endpointurl`, `keyfile` and
        `causes`: pairs of an exception's type and text, outermost first, none where the remote
        answered.
    """
    from dvc.config import NoRemoteError
    from dvc.repo import Repo

    repo = Repo()
    try:
        name = repo.config["core"].get("remote") or ""
        config = dict(repo.config["remote"].get(name, {}))
        said: dict[str, Any] = {
            "name": name,
            "url": config.get("url", ""),
            "endpointurl": config.get("endpointurl"),
            "keyfile": config.get("keyfile"),
            "causes": [],
        }
        try:
            endpoint = urlsplit(config.get("endpointurl") or "")
            if endpoint.hostname:
                port = endpoint.port or (443 if endpoint.scheme == "https" else 80)
                socket.create_connection((endpoint.hostname, port), CONNECT_S).close()
            remote = repo.cloud.get_remote(name or None)
            said["path"] = remote.path
            remote.fs.ls(remote.path)
        except NoRemoteError:
            return {}
        except Exception as error:
            said["causes"] = causes(error)
        return said
    finally:
        repo.close()


def causes(error: BaseException | None) -> list[tuple[str, str]]:
    """An exception and what it came from, outermost first.

    Args:
        error: the outermost.
    """
    chain: list[tuple[str, str]] = []
    while error is not None and len(chain) < 10:
        chain.append((type(error).__name__, str(error)))
        error = error.__cause__ or error.__context__
    return chain


if __name__ == "__main__":
    json.dump(reach(), sys.stdout)

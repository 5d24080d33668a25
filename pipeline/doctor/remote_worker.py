"""Child process that connects to DVC's default remote and prints the result as JSON.

It is a child so that it can be ended if a server does not answer. It is started by its path and
imports nothing of this project.
"""

from __future__ import annotations

import json
import socket
import sys
from typing import Any
from urllib.parse import urlsplit

CONNECT_S = 5.0
"""Time-out for connecting to an S3 endpoint, s; that of botocore is about 15 s."""


def reach() -> dict[str, Any]:
    """List the folder of the remote.

    Returns:
        An empty dictionary if there is no default remote; else `name`, `url`, `endpointurl`,
        `keyfile` and `causes`: type and text of the exceptions, outermost first, or an empty list
        if the remote answered.
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
    """List an exception and its causes, outermost first.

    Args:
        error: the outermost exception.
    """
    chain: list[tuple[str, str]] = []
    while error is not None and len(chain) < 10:
        chain.append((type(error).__name__, str(error)))
        error = error.__cause__ or error.__context__
    return chain


if __name__ == "__main__":
    json.dump(reach(), sys.stdout)

"""What `doctor` says of Docker: the engine, Compose, the GPU runtime, our containers, their user.

Agrees with docker/compose.yaml (tests/doctor/test_docker.py): its project and its user. Looks only.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from pipeline.doctor.check import Line, ask

COMPOSE = Path("docker/compose.yaml")
PROJECT = "moveit2-diffusion-policy"
LEAST_COMPOSE = (2, 25)
"""The version that the users' guide asks for; older ones do not know all of compose.yaml."""
DEFAULTS = {"HOST_UID": "1000", "HOST_GID": "1000"}
"""What compose.yaml takes where neither the environment nor docker/.env says otherwise."""
STOPPED = {"0", "130", "137", "143"}
"""Exit statuses of a container that was stopped rather than failed."""


def examine(has_gpu: bool, root: Path) -> Iterator[Line]:
    """Look at Docker and at our containers.

    Args:
        has_gpu: whether containers could use one.
        root: the repository.

    Yields:
        A line a part; one alone where there is no Docker or it does not answer.
    """
    if shutil.which("docker") is None:
        remedy = "nothing, unless you want containers: install Docker Engine"
        yield Line("docker", "absent", "no docker on the PATH", remedy)
        return
    code, said = ask("docker", "info", "--format", "{{.ServerVersion}} {{json .Runtimes}}")
    if code:
        remedy = "sudo systemctl start docker"
        if "permission denied" in said:
            remedy = "sudo usermod -aG docker $USER && newgrp docker"
        yield Line("docker", "problem", said.splitlines()[-1][:120] if said else "silent", remedy)
        return
    yield Line("docker", "ok", said.partition(" ")[0])
    yield compose()
    if has_gpu and '"nvidia"' not in said:
        remedy = "sudo nvidia-ctk runtime configure --runtime=docker; sudo systemctl restart docker"
        yield Line("docker GPU", "problem", "no runtime nvidia", remedy)
    elif has_gpu:
        yield Line("docker GPU", "ok", "runtime nvidia")
    yield from running()
    yield user(root)


def compose() -> Line:
    """Docker's plugin compose against the version that compose.yaml needs."""
    code, said = ask("docker", "compose", "version", "--short")
    found = re.search(r"(\d+)\.(\d+)", said)
    wanted = ".".join(map(str, LEAST_COMPOSE))
    if code or not found:
        remedy = "sudo apt-get install docker-compose-plugin"
        return Line("docker compose", "problem", "the plugin is not installed", remedy)
    if tuple(map(int, found.groups())) < LEAST_COMPOSE:
        remedy = f"update docker-compose-plugin to {wanted} or later"
        return Line("docker compose", "problem", said.strip(), remedy)
    return Line("docker compose", "ok", said.strip())


def running() -> Iterator[Line]:
    """Our containers, where there are any: one that failed is a problem."""
    label = f"label=com.docker.compose.project={PROJECT}"
    _, said = ask("docker", "ps", "-a", "--filter", label, "--format", "{{.Names}}: {{.Status}}")
    failed = [
        line
        for line in said.splitlines()
        if (ended := re.search(r"Exited \((\d+)\)", line)) and ended[1] not in STOPPED
    ]
    if failed:
        remedy = f"docker compose -f {COMPOSE} logs"
        yield Line("containers", "problem", "; ".join(failed), remedy)
    elif said.strip():
        yield Line("containers", "ok", "; ".join(said.splitlines()))


def user(root: Path) -> Line:
    """Whether containers write as the owner of the repository.

    Args:
        root: the repository.
    """
    chosen = settings(root)
    ours = f"{chosen['HOST_UID']}:{chosen['HOST_GID']}"
    owner = f"{root.stat().st_uid}:{root.stat().st_gid}"
    if ours == owner:
        return Line("container user", "ok", f"{ours}, the repository's owner")
    found = f"containers run as {ours}, the repository belongs to {owner}"
    uid, _, gid = owner.partition(":")
    remedy = "make docker/.env"
    if (root / COMPOSE.parent / ".env").exists():  # which may hold more than these two
        remedy = f"write HOST_UID={uid} and HOST_GID={gid} into docker/.env"
    return Line("container user", "absent", found, remedy)


def settings(root: Path) -> dict[str, str]:
    """What compose.yaml's variables are, in Compose's own order of precedence.

    Args:
        root: the repository.

    Returns:
        A value a variable: of the environment, else of docker/.env, else compose.yaml's default.
    """
    file = root / COMPOSE.parent / ".env"
    written = dict(re.findall(r"^(\w+)=(.*)$", file.read_text(), re.M)) if file.is_file() else {}
    return {
        name: os.environ.get(name) or written.get(name) or default
        for name, default in DEFAULTS.items()
    }

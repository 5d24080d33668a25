"""Checks of Docker: the engine, Compose, the GPU runtime, the project's containers and their user.

Project name and user are those of docker/compose.yaml, as tests/doctor/test_docker.py verifies.
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
MIN_COMPOSE = (2, 25)
"""Oldest version of Compose that supports everything in compose.yaml."""
DEFAULTS = {"HOST_UID": "1000", "HOST_GID": "1000"}
"""Defaults of compose.yaml if neither the environment nor docker/.env sets a variable."""
STOPPED = {"0", "130", "137", "143"}
"""Exit statuses of a container that was stopped and did not fail."""


def examine(has_gpu: bool, root: Path) -> Iterator[Line]:
    """Check Docker and the project's containers.

    Args:
        has_gpu: whether this machine has a GPU for containers.
        root: the repository.

    Yields:
        One line per part; a single line if Docker is missing or does not answer.
    """
    if shutil.which("docker") is None:
        remedy = "needed only for containers: install Docker Engine"
        yield Line("docker", "absent", "no docker on the PATH", remedy)
        return
    code, said = ask("docker", "info", "--format", "{{.ServerVersion}} {{json .Runtimes}}")
    if code:
        remedy = "sudo systemctl start docker"
        if "permission denied" in said:
            remedy = "sudo usermod -aG docker $USER && newgrp docker"
        yield Line(
            "docker", "problem", said.splitlines()[-1][:120] if said else "no answer", remedy
        )
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
    """Check the version of Docker's plugin compose."""
    code, said = ask("docker", "compose", "version", "--short")
    found = re.search(r"(\d+)\.(\d+)", said)
    wanted = ".".join(map(str, MIN_COMPOSE))
    if code or not found:
        remedy = "sudo apt-get install docker-compose-plugin"
        return Line("docker compose", "problem", "the plugin is not installed", remedy)
    if tuple(map(int, found.groups())) < MIN_COMPOSE:
        remedy = f"update docker-compose-plugin to {wanted} or later"
        return Line("docker compose", "problem", said.strip(), remedy)
    return Line("docker compose", "ok", said.strip())


def running() -> Iterator[Line]:
    """Check the project's containers if there are any. A failed container is a problem."""
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
    """Check whether containers run as the owner of the repository.

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
    if (root / COMPOSE.parent / ".env").exists():  # it may hold more than these two
        remedy = f"write HOST_UID={uid} and HOST_GID={gid} into docker/.env"
    return Line("container user", "absent", found, remedy)


def settings(root: Path) -> dict[str, str]:
    """Read the variables of compose.yaml with the precedence of Compose.

    Args:
        root: the repository.

    Returns:
        Values by variable, from the environment, else docker/.env, else compose.yaml's default.
    """
    file = root / COMPOSE.parent / ".env"
    written = dict(re.findall(r"^(\w+)=(.*)$", file.read_text(), re.M)) if file.is_file() else {}
    return {
        name: os.environ.get(name) or written.get(name) or default
        for name, default in DEFAULTS.items()
    }

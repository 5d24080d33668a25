"""docker/ holds what the guide promises, doctor agrees, and the entry point does what it says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from pipeline.doctor import docker
from pipeline.stages import doctor
from tests.conftest import HANG_S

REPOSITORY = Path(__file__).parents[2]
DOCKERFILE = REPOSITORY / "docker/Dockerfile"
ENTRYPOINT = REPOSITORY / "docker/entrypoint.sh"
FILE: dict[str, Any] = YAML(typ="safe").load(REPOSITORY / docker.COMPOSE)
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
TRAINING = ("diffusion", "diffusion-cpu")


def _target(name: str) -> str:
    """One stage of the Dockerfile, comments left out."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.M)
    (body,) = re.findall(rf"^FROM \S+ AS {name}$(.*?)(?=^FROM|\Z)", text, re.M | re.S)
    return str(body)


# The files themselves


def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    if not hadolint.exists():
        pytest.skip("hadolint is packaged for Linux on x86-64 alone")
    done = subprocess.run([hadolint, DOCKERFILE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_compose_accepts_the_file() -> None:
    plugin = ["docker", "compose"]
    if (
        not shutil.which("docker")
        or subprocess.run([*plugin, "version"], capture_output=True, check=False).returncode
    ):
        pytest.skip("no docker with its plugin compose; the tests below read the file themselves")
    command = [*plugin, "-f", REPOSITORY / docker.COMPOSE, "--profile", "*", "config", "-q"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_guide_s_commands_find_their_service() -> None:
    assert set(SERVICES) == {*TRAINING, "runtime"}
    # `build` and `up -d` without a name take what has no profile: the service with the GPU alone.
    assert [name for name, service in SERVICES.items() if "profiles" not in service] == [
        "diffusion"
    ]
    (device,) = SERVICES["diffusion"]["deploy"]["resources"]["reservations"]["devices"]
    assert device["driver"] == "nvidia" and "gpu" in device["capabilities"]
    for name in ("diffusion-cpu", "runtime"):
        assert "deploy" not in SERVICES[name]
    for name in TRAINING:
        assert SERVICES[name]["build"]["target"] == "train"


def test_ports_are_published_on_loopback_alone_and_are_those_that_doctor_looks_at() -> None:
    published = [port.split(":") for service in SERVICES.values() for port in service["ports"]]
    assert {host for host, _, _ in published} == {"127.0.0.1"}
    assert all(outside == inside for _, outside, inside in published)
    assert {int(port) for _, port, _ in published} == set(doctor.PORTS)
    for name, stage in (("6007", "train"), ("8765", "runtime")):
        assert f"EXPOSE {name}" in _target(stage)


def test_the_project_with_data_and_checkpoints_is_the_host_s_folder() -> None:
    for name in TRAINING:
        (mount,) = SERVICES[name]["volumes"]
        assert (mount["type"], mount["target"]) == ("bind", "/workspace")
        assert (REPOSITORY / "docker" / mount["source"]).samefile(REPOSITORY)
    (policy,) = SERVICES["runtime"]["volumes"]
    assert policy["target"] == "/policy" and policy["read_only"] is True
    # Docker makes a missing folder for root, and an empty one holds no policy anyway.
    assert policy["bind"]["create_host_path"] is False
    ignored = (REPOSITORY / ".gitignore").read_text().split()
    # DVC puts what git tracks aside for an experiment, which a mount in its way would break.
    assert {"/data/*", "/checkpoints/"} <= set(ignored)


def test_no_container_runs_as_root() -> None:
    for name in TRAINING:
        assert SERVICES[name]["user"] == "${HOST_UID:-1000}:${HOST_GID:-1000}"
    assert re.findall(r"^USER (.*)$", _target("train"), re.M) == ["${HOST_UID}:${HOST_GID}"]
    assert re.findall(r"^USER (.*)$", _target("runtime"), re.M) == ["1000:1000"]


def test_dependencies_are_pinned_and_come_before_the_code() -> None:
    for name, code in (("train", " . /workspace"), ("runtime-environment", "COPY pipeline")):
        stage = _target(name)
        installs = re.findall(r"pip install (?:[^&]|&(?!&))*", stage)
        assert installs and all("constraints.txt" in i or "--no-deps" in i for i in installs)
        assert stage.index("-r ") < stage.index(code)
    assert "torch" not in _target("runtime") + _target("runtime-environment")


def test_nothing_private_and_nothing_big_is_sent_to_the_engine() -> None:
    ignored = (REPOSITORY / ".dockerignore").read_text().split()
    for private in (".git", ".dvc/config.local", "docker/.env", "artifacts", "data", ".venv"):
        assert private in ignored


# The entry point, run here


def _entrypoint(folder: Path, text: str, *command: str) -> subprocess.CompletedProcess[str]:
    script = folder / "entrypoint.sh"
    script.write_text(text)
    return subprocess.run(
        ["sh", script, *command], capture_output=True, text=True, check=False, timeout=HANG_S
    )


def test_the_entry_point_runs_the_command_and_passes_its_status_on(tmp_path: Path) -> None:
    text = ENTRYPOINT.read_text().replace("/workspace", str(tmp_path))
    done = _entrypoint(tmp_path, text, "sh", "-c", "echo $1; exit 3", "sh", "two words")
    assert (done.returncode, done.stdout) == (3, "two words\n")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_project_that_cannot_be_written_is_refused_with_what_to_type(tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    done = _entrypoint(tmp_path, ENTRYPOINT.read_text().replace("/workspace", str(locked)), "true")
    assert done.returncode == 1 and "make docker/.env" in done.stderr


# What doctor says of them


def _docker(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Stands in for Docker, which no test machine has: says what the real one says."""
    command = folder / "docker"
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


def _running(compose: str, status: str) -> str:
    return (
        'case "$1" in info) echo \'28.1 {"runc":{}}\';; compose) '
        f"echo {compose};; ps) echo 'x-diffusion-1: {status}';; esac"
    )


def test_docker_s_troubles_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _docker(tmp_path, monkeypatch, "echo 'permission denied while trying to connect' >&2; exit 1")
    (line,) = docker.examine(False, tmp_path)
    assert line.status == "problem" and "usermod -aG docker" in line.remedy
    _docker(tmp_path, monkeypatch, "echo 'Cannot connect to the Docker daemon' >&2; exit 1")
    (line,) = docker.examine(False, tmp_path)
    assert line.remedy == "sudo systemctl start docker"
    _docker(tmp_path, monkeypatch, _running("2.40.3", "Exited (1) 2 minutes ago"))
    parts = {line.part: line for line in docker.examine(True, REPOSITORY)}
    assert parts["docker"].found == "28.1"
    assert parts["docker compose"].status == "ok"
    assert "nvidia-ctk" in parts["docker GPU"].remedy
    assert parts["containers"].status == "problem" and "logs" in parts["containers"].remedy


@pytest.mark.parametrize("status", ["Up 3 hours (healthy)", "Exited (0) 1 minute ago"])
def test_a_container_that_runs_or_was_stopped_is_no_problem(
    status: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _docker(tmp_path, monkeypatch, _running("2.40.3", status))
    (line,) = docker.running()
    assert line.status == "ok" and status in line.found


def test_an_old_compose_or_none_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _docker(tmp_path, monkeypatch, _running("2.24.7", "Up"))
    assert "2.25" in docker.compose().remedy
    _docker(tmp_path, monkeypatch, "echo 'unknown command: docker compose' >&2; exit 1")
    assert "apt-get install" in docker.compose().remedy


def test_whose_files_containers_write_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in docker.DEFAULTS:
        monkeypatch.delenv(name, raising=False)
    owner = tmp_path.stat()
    (tmp_path / "docker").mkdir()
    monkeypatch.setitem(docker.DEFAULTS, "HOST_UID", str(owner.st_uid + 1))
    line = docker.user(tmp_path)
    assert line.status == "absent" and "make docker/.env" in line.remedy
    shutil.copy(REPOSITORY / "Makefile", tmp_path)
    subprocess.run(["make", "-s", "docker/.env"], cwd=tmp_path, check=True)
    assert docker.settings(tmp_path)["HOST_UID"] == str(os.getuid())
    assert docker.user(tmp_path).status == "ok"
    monkeypatch.setenv("HOST_UID", "77")  # the environment decides, as in Compose
    assert "77:" in docker.user(tmp_path).found
    assert f"HOST_UID={owner.st_uid}" in docker.user(tmp_path).remedy


def test_doctor_knows_what_compose_does() -> None:
    assert FILE["name"] == docker.PROJECT
    text = (REPOSITORY / docker.COMPOSE).read_text()
    for name, default in docker.DEFAULTS.items():
        assert set(re.findall(rf"\$\{{{name}:-([^}}]*)\}}", text)) == {default}

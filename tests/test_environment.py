"""tools/environment.sh, as `make setup` runs it: which Python, uv or pip, whole or not at all."""

from __future__ import annotations

import ensurepip
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from pipeline.stages import doctor

REPOSITORY = Path(__file__).parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
FITTING = SpecifierSet(PROJECT["requires-python"])
UV = f"""
for last; do :; done
[ "$1" != venv ] || {sys.executable} -m venv --without-pip "$last"
echo uv "$@" >> said
"""
"""Makes the environment that `uv venv` names, installs nothing, and writes down its arguments."""


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `make setup` where nothing is installed yet, without uv or settings of the caller."""
    shutil.copytree(REPOSITORY / "tools", tmp_path / "tools")
    shutil.copy(REPOSITORY / "Makefile", tmp_path)
    for name in ("requirements.in", "requirements-dev.in", "constraints.txt"):
        (tmp_path / name).touch()
    (tmp_path / "bin").mkdir()
    (tmp_path / "pip.conf").touch()
    settings = {
        "PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "PIP_CONFIG_FILE": str(tmp_path / "pip.conf"),
    }

    def make(python: str, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        command = ["make", "setup", f"PYTHON={python}", *words]
        return subprocess.run(
            command, cwd=tmp_path, env=settings | more, capture_output=True, text=True, check=False
        )

    return make


def put(folder: Path, name: str, script: str) -> None:
    """Put a command on the PATH of `make`."""
    command = folder / "bin" / name
    command.write_text(f"#!/bin/sh\n{script}")
    command.chmod(0o755)


def fake_python(folder: Path, version: str) -> None:
    """Put a python3 on the PATH that is of a version and else what runs this test."""
    put(folder, "python3", f'case "$2" in *version_info*) echo {version};; '
        f'*) exec {sys.executable} "$@";; esac\n')  # fmt: skip


@pytest.mark.parametrize("minor", range(9, 16))
def test_the_versions_that_fit_are_those_of_pyproject_and_doctor(
    make: Callable[..., subprocess.CompletedProcess[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    minor: int,
) -> None:
    fits = f"3.{minor}" in FITTING
    monkeypatch.setattr(sys, "version_info", (3, minor, 0))
    assert (doctor.python().status == "ok") == fits
    monkeypatch.undo()
    fake_python(tmp_path, f"3.{minor}")
    put(tmp_path, "uv", UV)
    done = make("python3")
    assert (done.returncode == 0) == fits == (tmp_path / ".venv/.dev").exists()
    if not fits:
        said = done.stderr.splitlines()
        assert said[0].startswith(f"python3 is Python 3.{minor}; expected 3.11, 3.12 or 3.13:")
        assert "make setup PYTHON=python3.12" in said[0] and "uv python install" in said[0]
        assert [line.partition(":")[0] for line in said[1:]] == ["make"]
        assert not (tmp_path / ".venv").exists() and not (tmp_path / "said").exists()


def test_a_python_that_is_not_there_is_named(
    make: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    said = make("python3.99").stderr.splitlines()[0]
    assert said.startswith("python3.99 was not found; expected Python 3.11, 3.12 or 3.13:")


def test_a_python_without_ensurepip_names_the_package_to_install(
    make: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/ensurepip.py").write_text("raise ImportError('left out, as Debian does')\n")
    done = make(sys.executable, PYTHONPATH=str(tmp_path / "lib"))
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert done.returncode != 0
    assert f"apt install python{version}-venv" in done.stderr.splitlines()[0]
    assert not (tmp_path / ".venv").exists()


def test_an_installation_that_failed_is_not_taken_for_whole(
    make: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    (tmp_path / "requirements.in").write_text("no-such-package-anywhere\n")
    failed = make(sys.executable, PIP_NO_INDEX="1")
    assert failed.returncode != 0 and "no-such-package-anywhere" in failed.stderr
    left = tmp_path / ".venv/bin/python3"
    assert left.exists() and not (tmp_path / ".venv/.stamp").exists()

    # What is left is no interpreter to go on with, and goes.
    left.unlink()
    left.write_text("#!/bin/sh\nexit 1\n")
    left.chmod(0o755)
    (tmp_path / "requirements.in").write_text("")
    (tmp_path / ".venv/lib/leftover").touch()
    put(tmp_path, "python3", f'exec {sys.executable} "$@"\n')
    whole = make("python3", PIP_NO_INDEX="1")
    assert whole.returncode == 0, whole.stderr
    assert (tmp_path / ".venv/.stamp").exists() and (tmp_path / ".venv/bin/pip").exists()
    assert not (tmp_path / ".venv/lib/leftover").exists()
    assert make("python3.99").returncode == 0, "a whole environment is not made again"


def test_uv_takes_the_settings_of_pip(
    make: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    put(tmp_path, "uv", f'{UV}echo "strategy $UV_INDEX_STRATEGY" >> said\n')
    (tmp_path / "pip.conf").write_text(
        "[global]\nindex-url = https://one.localhost/simple\n"
        "extra-index-url =\n  https://two.localhost/simple\n  https://three.localhost/simple\n"
        "find-links = /overruled\n"
    )
    done = make(sys.executable, PIP_FIND_LINKS="/wheels /more")
    assert done.returncode == 0, done.stderr
    venv, _, install, strategy, rest, _ = (tmp_path / "said").read_text().splitlines()
    assert rest == install.replace("requirements.in", "requirements-dev.in")
    assert install.startswith("uv pip install -q --no-compile --python .venv")
    assert venv.startswith("uv venv -q --python /") and venv.endswith(" .venv")
    assert (
        "--find-links /wheels --find-links /more --default-index https://one.localhost/simple "
        "--index https://two.localhost/simple --index https://three.localhost/simple "
        "pip -r requirements.in -c constraints.txt"
    ) in install
    # As with pip, the pinned version counts, not which index has the package first.
    assert strategy == "strategy unsafe-best-match"


def test_the_chain_needs_less_than_the_tests() -> None:
    def names(file: str) -> set[str]:
        lines = (REPOSITORY / file).read_text().splitlines()
        return {re.split("[ ;=]", line)[0] for line in lines if line and line[0] != "#"}

    chain, rest = names("requirements.in"), names("requirements-dev.in")
    assert {"torch", "dvc", "mujoco"} <= chain and {"pytest", "ruff", "mypy"} <= rest
    assert not chain & rest


def test_uv_can_be_done_without(
    make: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    put(tmp_path, "uv", "exit 1\n")
    assert make(sys.executable, PIP_NO_INDEX="1").returncode != 0
    assert make(sys.executable, "UV=", PIP_NO_INDEX="1").returncode == 0
    assert (tmp_path / ".venv/bin/pip").exists()


@pytest.mark.skipif(shutil.which("uv") is None, reason="uv is not on the PATH")
def test_uv_makes_an_environment_with_pip(
    make: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    uv = shutil.which("uv")
    assert uv is not None
    wheels = str(Path(ensurepip.__file__).parent / "_bundled")
    done = make(sys.executable, f"UV={uv}", PIP_FIND_LINKS=wheels, PIP_NO_INDEX="1")
    assert done.returncode == 0, done.stderr
    run = [tmp_path / ".venv/bin/python", "-m", "pip", "--version"]
    assert subprocess.run(run, capture_output=True, check=False).returncode == 0

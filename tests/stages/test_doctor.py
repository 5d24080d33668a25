"""Each part has a line, and a problem comes with its fix."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.doctor import remotes
from pipeline.doctor.check import Line
from pipeline.params import Params
from pipeline.runtime.backends.driver_process import Gpu
from pipeline.stages import doctor
from pipeline.stages.doctor import DoctorError


def test_every_part_of_this_machine_has_a_line(params: Params) -> None:
    lines = {line.part: line for line in doctor.examine(params)}
    for part in ("python", "packages", "GPU", "torch", "tensorrt-rtx", "docker", "data set",
                 "recordings", "permissions", "remote", "disk", "memory", "port 6007"):  # fmt: skip
        assert part in lines
    for line in lines.values():
        assert line.found
        assert line.status == "ok" or line.remedy


def test_the_line_names_a_package_of_another_version(tmp_path: Path) -> None:
    pins = tmp_path / "constraints.txt"
    pins.write_text(f"numpy=={version('numpy')}\nnot-installed-here==1.0 ; sys_platform == 'x'\n")
    assert doctor.packages(pins).status == "ok"
    others = "numpy==0.1 ; python_version < '3'\nnumpy==9.1 ; sys_platform == 'x'\n"
    pins.write_text(f"numpy=={version('numpy')} ; python_version >= '3'\n{others}")
    assert doctor.packages(pins).status == "ok"
    pins.write_text("numpy==0.1\n")
    line = doctor.packages(pins)
    assert (line.status, line.remedy) == ("problem", "make setup")
    assert f"numpy {version('numpy')} (pinned 0.1)" in line.found


def test_a_broken_driver_is_a_problem_and_a_missing_one_is_not() -> None:
    assert doctor.driver([], "no NVIDIA driver").status == "absent"
    broken = doctor.driver([], "the NVIDIA driver does not start (cuInit: error 999)")
    assert broken.status == "problem" and "nvidia-smi" in broken.remedy
    assert "RTX" in doctor.driver([Gpu("RTX 4090", "8.9", "13.0")], "").found


def test_a_gpu_that_torch_cannot_use_is_a_problem() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("torch can use the GPU here")
    assert [line.status for line in doctor.torch_lines([])] == ["ok"]
    assert [line.status for line in doctor.torch_lines([Gpu("RTX", "8.9", "13.0")])] == ["problem"]


def test_a_broken_data_set_and_missing_recordings_are_problems(
    params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert doctor.dataset(params).status == "absent"
    (tmp_path / "artifacts/dataset/pen_grasp.zarr").mkdir(parents=True)
    assert doctor.dataset(params).status == "problem"
    gone = params.override("ingest", source="/data/of/another/machine")
    assert "/data/of/another/machine" in doctor.recordings(gone).found
    assert doctor.recordings(gone).status == "problem"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_the_line_names_folders_of_root(tmp_path: Path) -> None:
    (tmp_path / "artifacts").mkdir(mode=0o555)
    line = doctor.ownership(tmp_path)
    assert line.status == "problem" and "chown" in line.remedy


def test_the_line_names_a_missing_remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    dvc = [sys.executable, "-m", "dvc"]
    for command in (["git", "init", "-q"], [*dvc, "init", "-q"]):
        subprocess.run(command, check=True)
    assert remotes.examine(tmp_path).status == "absent"
    add = ["remote", "add", "-q", "-d", "store", "/no/such/folder"]
    subprocess.run([*dvc, *add], check=True)
    assert "no folder /no/such/folder" in remotes.examine(tmp_path).found
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # taken by this test, but nobody listens
        url = f"ssh://me@127.0.0.1:{taken.getsockname()[1]}/store"
        subprocess.run([*dvc, "remote", "modify", "store", "url", url], check=True)
        assert "no server listens on that port" in remotes.examine(tmp_path).found


def test_too_little_disk_and_memory_are_problems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = {"SC_PAGE_SIZE": 4096}
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: SimpleNamespace(free=free * 1e9))
    monkeypatch.setattr(doctor.os, "sysconf", lambda name: pages.get(name, int(total * 1e9 / 4096)))
    free, total = doctor.MIN_DISK_GB - 0.1, doctor.MIN_MEMORY_GB - 0.1
    for line, found in ((doctor.disk(tmp_path), "9.9 GB free"), (doctor.memory(), "3.9 GB")):
        assert (line.status, line.found) == ("problem", found)
        assert line.remedy
    free, total = doctor.MIN_DISK_GB + 0.1, doctor.MIN_MEMORY_GB + 0.1
    assert (doctor.disk(tmp_path).status, doctor.memory().status) == ("ok", "ok")


def test_the_command_fails_if_a_part_has_a_problem(
    params: Params, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [Line("disk", "ok", "9 GB"), Line("GPU", "absent", "no driver", "nothing")]
    monkeypatch.setattr(doctor, "examine", lambda params: iter(lines))
    doctor.run(params)
    assert "no driver" in capsys.readouterr().out
    lines.append(Line("data set", "problem", "torn", "make dataset"))
    with pytest.raises(DoctorError, match="1 parts have a problem: data set"):
        doctor.run(params)
    assert "make dataset" in capsys.readouterr().out


def test_a_taken_port_is_reported(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert doctor.free_port(port, "serve").status == "absent"
    assert doctor.disk(tmp_path).found.endswith("GB free")

"""GPUs are shared out by locks that go with a process; no GPU is needed to see that."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.experiments import gpus
from pipeline.experiments.gpus import GpuError, claim_gpu, find_gpus
from tests.conftest import HANG_S

ROOT = Path(__file__).parents[2]
HOLDER = """
import os, sys
from pipeline.experiments.gpus import claim_gpu
claim_gpu()
print(os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
sys.stdin.read()
"""


def _holder(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLDER], cwd=ROOT, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={**os.environ, "PIPELINE_GPUS": "3,GPU-8f-2", "DVC_ROOT": str(folder)},
    )  # fmt: skip


def test_each_process_has_its_own_and_a_dead_one_s_is_free_again(tmp_path: Path) -> None:
    holders = [_holder(tmp_path) for _ in range(3)]
    try:
        lines = {}
        for _ in range(2):
            holder = _first_to_speak([item for item in holders if item not in lines])
            assert holder.stdout is not None
            lines[holder] = holder.stdout.readline().strip()
        assert set(lines.values()) == {"3", "GPU-8f-2"}
        (waiting,) = set(holders) - set(lines)
        assert waiting.poll() is None
        killed = next(iter(lines))
        killed.kill()
        assert waiting.stdout is not None
        assert waiting.stdout.readline().strip() == lines[killed]
    finally:
        for holder in holders:
            holder.kill()
            holder.communicate()


def _first_to_speak(holders: list[subprocess.Popen[str]]) -> subprocess.Popen[str]:
    import selectors

    with selectors.DefaultSelector() as selector:
        for holder in holders:
            assert holder.stdout is not None
            selector.register(holder.stdout, selectors.EVENT_READ, holder)
        ((key, _), *_rest) = selector.select(HANG_S)
        found = key.data
    assert isinstance(found, subprocess.Popen)
    return found


def test_nothing_is_claimed_where_nothing_is_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIPELINE_GPUS", raising=False)
    assert claim_gpu() is None


def test_the_list_is_what_is_named_or_visible_or_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, 4")
    assert find_gpus() == ["2", "4"]
    assert find_gpus("0") == ["0"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert find_gpus() == []
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nprintf '0\\n1\\n'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert find_gpus() == ["0", "1"]
    monkeypatch.setattr(gpus.shutil, "which", lambda name: None)
    assert find_gpus() == []


@pytest.mark.parametrize("wrong", ["cuda:0", "0,0", "0;1", "../x"])
def test_what_is_no_list_is_refused(wrong: str) -> None:
    with pytest.raises(GpuError, match="expected different numbers or names"):
        find_gpus(wrong)

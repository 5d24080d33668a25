"""Work in a child process: what becomes of crashes, of time-outs, of other folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.runtime.backends.driver_process import call_worker, find_gpus


def test_either_gpus_or_a_reason() -> None:
    gpus, reason = find_gpus()
    assert bool(gpus) != bool(reason)
    for gpu in gpus:
        assert gpu.name and "." in gpu.capability and "." in gpu.driver


def test_a_child_that_crashes_becomes_a_line_of_the_report() -> None:
    answer = call_worker({"kind": "unheard of"})
    assert answer["status"] == "failed"
    assert "KeyError" in answer["reason"]


def test_a_child_that_takes_too_long_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hanging.py").write_text("import signal\nsignal.pause()\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    answer = call_worker({"kind": "version", "module": "hanging"}, timeout_s=1.0)
    assert answer["status"] == "failed"
    assert "no answer" in answer["reason"]


def test_the_child_finds_its_package_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "gpus" in call_worker({"kind": "gpus"})

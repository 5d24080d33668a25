from __future__ import annotations

import importlib.util
import os
import time
from functools import partial
from pathlib import Path

import pytest

from pipeline.processes import EngineError, WorkerError, in_processes, in_ray
from pipeline.robot.model import ModelError


def _even_after_odd(folder: Path | None, shard: int) -> tuple[int, int]:
    """Number and process; where a folder is given, an even shard ends after the next odd one."""
    if folder is not None:
        (folder / str(shard)).touch()
        while shard % 2 == 0 and not (folder / str(shard + 1)).exists():
            time.sleep(0.01)
    return shard, os.getpid()


def _fail(shard: int) -> int:
    raise ModelError("no joint 'elbow'")


def _break(shard: int) -> int:
    raise ZeroDivisionError


def _die(shard: int) -> int:
    os._exit(3)


@pytest.mark.parametrize("workers", [1, 3])
def test_results_come_in_order_each_from_its_own_process(workers: int, tmp_path: Path) -> None:
    # One worker at a time could not wait for another.
    work = partial(_even_after_odd, tmp_path if workers > 1 else None)
    shards = in_processes(work, workers, [])
    results = [next(shards) for _ in range(5)]
    shards.close()
    assert [number for number, _ in results] == [0, 1, 2, 3, 4]
    assert len({process for _, process in results}) == 5


def test_a_pipeline_error_keeps_its_type() -> None:
    with pytest.raises(ModelError, match="no joint 'elbow'"):
        next(in_processes(_fail, 1, []))


def test_another_error_includes_its_traceback() -> None:
    with pytest.raises(WorkerError, match=r"(?s)shard 0 failed.*_break.*ZeroDivisionError"):
        next(in_processes(_break, 1, []))


def test_a_dead_worker_raises_an_error() -> None:
    with pytest.raises(WorkerError, match="exit code 3"):
        next(in_processes(_die, 1, []))


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="Ray is installed")
def test_a_missing_ray_is_named() -> None:
    with pytest.raises(EngineError, match="pip install ray"):
        next(in_ray(abs, fresh=False))

"""Fixtures and settings for all tests."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from pipeline.doctor import check, remotes
from pipeline.params import Params, load_params
from pipeline.robot import render
from pipeline.runtime.backends.driver_process import find_gpus

# No test may fail because the machine is slow or busy.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

TESTS = Path(__file__).parent
REPOSITORY = TESTS.parent
# The commands that tests start would each compile the pipeline again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
HANG_S = 600.0
"""Time-out of everything that a test waits for, s. Only what hangs takes that long."""


FIRST = ("test_pipeline.py", "docs", "stages", "bench", "export", "evaluation", "runtime")
"""Files and folders with long tests. They start first, so that none runs alone at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long tests first, in the order of `FIRST`."""
    ranks = {name: rank for rank, name in enumerate(FIRST)}
    items.sort(key=lambda item: ranks.get(item.path.relative_to(TESTS).parts[0], len(FIRST)))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests that need a GPU where there is none."""
    if item.get_closest_marker("gpu"):
        gpus, reason = find_gpus()
        if not gpus:
            pytest.skip(f"needs a GPU: {reason}")


@pytest.fixture(autouse=True, scope="session")
def _patient() -> Iterator[None]:
    """Raise the time-outs of real commands, so that no test fails on a slow machine."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (check, remotes, render):
            patch.setattr(module, "TIMEOUT_S", HANG_S)
        yield


@pytest.fixture(scope="session")
def params() -> Params:
    """The parameters of the repository, with absolute paths."""
    loaded = load_params(REPOSITORY / "params.yaml")
    # Tests leave nothing below the repository, share its cores, and compute alike with a GPU there.
    quiet = loaded.override("ingest", cache_gb=0.0).override("train", threads=1, device="cpu")
    return quiet.override(
        "robot", urdf=REPOSITORY / loaded.robot.urdf, srdf=REPOSITORY / loaded.robot.srdf
    )

"""Fixtures and settings for all tests."""

from __future__ import annotations

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

REPOSITORY = Path(__file__).parents[1]
HANG_S = 600.0
"""Time-out of everything that a test waits for, s. Only what hangs takes that long."""


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

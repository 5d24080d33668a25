"""What several rooms' tests share: the repository's parameters, and small ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from pipeline.doctor import check, remotes
from pipeline.params import Params, load_params
from pipeline.robot import render

# No test may fail because the machine is slow or busy.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

REPOSITORY = Path(__file__).parents[1]
HANG_S = 600.0
"""Nothing that a test waits for takes that long, s: what does, hangs."""


@pytest.fixture(autouse=True, scope="session")
def _patient() -> Iterator[None]:
    """Give real commands longer than people would wait for them."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (check, remotes, render):
            patch.setattr(module, "TIMEOUT_S", HANG_S)
        yield


@pytest.fixture(scope="session")
def params() -> Params:
    """The repository's own parameters, with its paths made absolute."""
    loaded = load_params(REPOSITORY / "params.yaml")
    # Tests leave nothing below the repository, and share its cores.
    quiet = loaded.override("ingest", cache_gb=0.0).override("train", threads=1)
    return quiet.override(
        "robot", urdf=REPOSITORY / loaded.robot.urdf, srdf=REPOSITORY / loaded.robot.srdf
    )

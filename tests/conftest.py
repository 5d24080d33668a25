"""What several rooms' tests share: the repository's parameters, and small ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

from pipeline.params import Params, load_params

# A busy machine is no failure: nothing here asserts a time.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def params() -> Params:
    """The repository's own parameters, with its paths made absolute."""
    loaded = load_params(REPOSITORY / "params.yaml")
    # Tests leave nothing below the repository, and share its cores.
    quiet = loaded.override("ingest", cache_gb=0.0).override("train", threads=1)
    return quiet.override(
        "robot", urdf=REPOSITORY / loaded.robot.urdf, srdf=REPOSITORY / loaded.robot.srdf
    )

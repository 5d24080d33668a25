"""A copy of the repository with small parameters, in which a reader's commands run."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from ruamel.yaml import YAML

from pipeline.cli import app
from tests.fixtures.generic import STEPS, write_generic
from tests.fixtures.traces import *

from .blocks import REPOSITORY
from .tables import SMALL

TEAM_ATTRIBUTES = {"state_dim": 25, "action_dim": 6, "metadata": {"robot": "Doosan E0509"}}


def copy_repository(folder: Path) -> Path:
    """What git tracks or would track, but for results and tests."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in filter(None, listing.stdout.split("\0")):
        skipped = name == "dvc.lock" or name.startswith(("tests/", "bench/"))
        if not skipped and (REPOSITORY / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, folder / name)
    for name in ("params.yaml", "examples/rail_arm.yaml"):
        make_small(folder / name)
    return folder


def make_small(file: Path, changes: dict[str, dict[str, Any]] = SMALL) -> None:
    """Write changed parameters into a file."""
    yaml = YAML()
    params = yaml.load(file.read_text())
    for section, values in changes.items():
        params[section].update(values)
    yaml.dump(params, file)


def run_pipeline(arguments: list[str]) -> None:
    """A command of the pipeline in this process, in the current folder; errors are raised."""
    app(args=arguments, standalone_mode=False)


@contextmanager
def entered(place: Path) -> Iterator[None]:
    """Commands run there, and keep their state there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setenv("DVC_ROOT", str(place))
        yield


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The copy after training, with recordings and data sets where the docs have them."""
    place = copy_repository(tmp_path_factory.mktemp("reader") / "place")
    with entered(place):
        for stage in ("collect", "ingest", "dataset", "train"):
            run_pipeline([stage])
    shutil.copytree(place / "artifacts/collect/bag", place / "recordings/session_1")
    for name in ("data/pen_grasp.zarr", "data/real/pen_grasp.zarr"):
        shutil.copytree(place / "artifacts/dataset/pen_grasp.zarr", place / name)
    # Vectors without an arm, for docs/vectors.md.
    points = np.random.default_rng(0).uniform(0, 512, (60 * STEPS, 9, 2)).astype(np.float32)
    write_generic(place / "data/vectors.zarr", 60, keypoint=points)
    # A URDF as ROS packages have them, for docs/en/own_robot.md.
    text = (place / "assets/rail_arm.urdf").read_text()
    mesh = '<mesh filename="package://my_arm/base.stl"/>'
    (place / "assets/arm.urdf").write_text(text.replace('<box size="0.16 0.9 0.06"/>', mesh))
    # The team's own form: no rate, no split, no ranges, the action of the same step.
    team = zarr.open_group(place / "data/pen_grasp.zarr", mode="a")
    team["data/action"][:] = team["data/state"][:, :6]
    del team["meta/split"]
    team.attrs.put(TEAM_ATTRIBUTES)
    return place


@pytest.fixture(scope="session")
def exported(template: Path) -> Path:
    """What stage export makes of it."""
    with entered(template):
        run_pipeline(["export", "--out", "../export"])
    return template.parent / "export"


@pytest.fixture
def make_place(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], Path]:
    """A fresh copy of the template, entered."""

    def make() -> Path:
        place = tmp_path / "place"
        shutil.copytree(template, place)
        monkeypatch.chdir(place)
        monkeypatch.setenv("DVC_ROOT", str(place))
        return place

    return make

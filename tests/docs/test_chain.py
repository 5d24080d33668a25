"""What the docs type that takes longer: the chain by make, TensorBoard, results by version."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import struct
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.params import load_params
from pipeline.robot.collision import CollisionChecker
from pipeline.robot.model import ModelError
from tests.conftest import HANG_S
from tests.remotes.project import Project, isolated, two_stages

from .blocks import REPOSITORY, blocks, commands
from .conftest import copy_repository, make_small

OWN_ROBOT = REPOSITORY / "docs/en/own_robot.md"


@pytest.mark.slow
def test_make_runs_the_stages_of_another_arm(tmp_path: Path) -> None:
    """docs/en/own_robot.md, section 5, with recordings of one's own and no remote."""
    place = copy_repository(tmp_path / "place")
    shutil.copy(place / "examples/rail_arm.yaml", place / "params.yaml")
    environment = isolated(tmp_path / "home")
    # The environment that runs this test, named as a container names its own.
    environment["VENV"] = sys.prefix
    project = Project(place, environment)
    project.run("git", "init", "-q")
    # DVC's experiments read a name from here, not from where git may have another.
    project.run("git", "config", "user.name", "Test")
    project.run("git", "config", "user.email", "test@example.org")
    project.run("git", "add", "-A")
    project.run("git", "commit", "-q", "-m", "Rail arm")
    project.run("python", "-m", "pipeline", "collect", "--out", "data/recordings/session_1")
    make_small(place / "params.yaml", {"ingest": {"source": "data/recordings"}})
    typed = [c.words for b in blocks(OWN_ROBOT) for c in commands(b) if c.words[0] == "make"]
    stages = [words[1] for words in typed if words[1] != "setup"]
    assert stages == ["dataset", "train", "evaluate", "export"]
    ran = {stage: _stages(project.run("make", stage)) for stage in stages}
    assert ran == {
        "dataset": ["ingest", "dataset"],
        "train": ["train"],
        "evaluate": ["evaluate"],
        "export": ["export"],
    }
    assert not (place / "artifacts/collect").exists()
    # Values are tried with -S, as in the README, once the chain has results.
    again = _stages(project.run("make", "train", "ARGS=-S train.lr=3e-4"))
    assert again == ["train"]
    # docs/results.md's other scene is planned anew, and everything after it.
    args = "ARGS=-S task.scene=bar -S collect.planning_attempts=2"
    planned = _stages(project.run("make", "collect", args))
    assert planned == ["collect"]


def _stages(said: str) -> list[str]:
    return re.findall(r"Running stage '(\w+)'", said)


def test_meshes_of_a_ros_package_are_found(make_place: Callable[[], Path]) -> None:
    """docs/en/own_robot.md, section 2: a folder of the package's name beside the URDF."""
    place = make_place()
    params = load_params(place / "examples/rail_arm.yaml")
    robot = params.override("robot", urdf=Path("assets/arm.urdf")).robot
    with pytest.raises(ModelError, match=r"package://my_arm/base\.stl could not be found"):
        CollisionChecker(robot, params.task)
    (place / "assets/my_arm").mkdir()
    _write_box(place / "assets/my_arm/base.stl", (0.16, 0.9, 0.06))
    CollisionChecker(robot, params.task)


def _write_box(path: Path, size: tuple[float, float, float]) -> None:
    """A binary STL."""
    corners = np.array(list(itertools.product((-0.5, 0.5), repeat=3))) * size
    quads = ((0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3))
    faces = [face for a, b, c, d in quads for face in ((a, b, c), (a, c, d))]
    data = b"".join(
        struct.pack("<12fH", 0, 0, 0, *corners[list(face)].ravel(), 0) for face in faces
    )
    path.write_bytes(bytes(80) + struct.pack("<I", len(faces)) + data)


@pytest.mark.slow
def test_tensorboard_shows_a_training(template: Path) -> None:
    """docs/en/guide.md, section 5.1, on a free port."""
    command = Path(sys.executable).with_name("tensorboard")
    child = subprocess.Popen(
        [command, "--logdir", template / "artifacts", "--port", "0"],
        stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    try:
        assert child.stderr is not None
        address = next(
            found[0] for line in child.stderr if (found := re.search(r"http://localhost:\d+", line))
        )
        runs, ends = "[]", time.monotonic() + HANG_S
        while "train" not in runs:
            assert time.monotonic() < ends, "the training is not shown"
            time.sleep(0.1)
            with urllib.request.urlopen(f"{address}/data/runs", timeout=HANG_S) as answer:
                runs = answer.read().decode()
    finally:
        child.terminate()
        child.communicate(timeout=HANG_S)


@pytest.mark.slow
def test_results_are_taken_by_version(tmp_path: Path) -> None:
    """docs/versions.md, "Using a release": dvc get and dvc import, by a tag of gto's kind."""
    project = two_stages(tmp_path / "project", isolated(tmp_path / "home"))
    project.run("git", "tag", "pen-grasp-policy@v1.0.0")
    other = Project(tmp_path / "other", project.environment)
    other.root.mkdir()
    other.run("git", "init", "-q")
    other.run("dvc", "init", "-q")
    source, version = str(project.root), ("--rev", "pen-grasp-policy@v1.0.0")
    other.run("dvc", "get", source, "artifacts/count", *version)
    other.run("dvc", "import", source, "artifacts/make", *version)
    there = project.root / "artifacts/count/count.json"
    assert (other.root / "count/count.json").read_text() == there.read_text()
    assert (other.root / "make.dvc").is_file() and len(list((other.root / "make").iterdir())) > 100

"""What a robot installs: the wheel with its slim extras, where nothing else is installed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from pipeline.export.graph import export_onnx
from pipeline.params import Params
from pipeline.policy.checkpoint import Checkpoint
from pipeline.robot.model import RobotModel
from pipeline.runtime.deployment import Deployment

REPOSITORY = Path(__file__).parents[2]
EXTRAS: dict[str, list[str]] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())[
    "project"
]["optional-dependencies"]
RUN = """
import importlib.util, json, sys
import numpy as np
import pipeline
policy = pipeline.load_policy(sys.argv[1])
seen = {"joint_pos": np.zeros(6), "pen_pos": np.full(3, 0.3), "pen_axis": np.array([0.0, 0.0, 1.0])}
commands = [policy.act(seen).tolist() for _ in range(9)]
known = ("torch", "dvc", "pydantic", "ruamel", "zarr", "mujoco", "onnx", "rich", "websockets")
found = [name for name in known if importlib.util.find_spec(name)]
print(json.dumps({"backend": policy.name, "from": pipeline.__file__, "found": found,
                  "commands": commands}))
"""


def _closure(requirements: list[str]) -> dict[str, Distribution]:
    """Installed distributions that requirements need, themselves included."""
    found: dict[str, Distribution] = {}
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        wanted = waiting.pop()
        if wanted.name in found or (wanted.marker and not wanted.marker.evaluate({"extra": ""})):
            continue
        found[wanted.name] = distribution(wanted.name)
        waiting += [Requirement(text) for text in found[wanted.name].requires or []]
    return found


def test_the_slim_extras_ask_for_nothing_heavy() -> None:
    heavy = {"torch", "dvc", "zarr", "mujoco", "onnx", "scipy", "matplotlib"}
    for extra in ("runtime", "serve", "ros2"):
        # Cyclone DDS has no wheel for some platforms, and needs nothing but a command line.
        asked = [name for name in EXTRAS[extra] if name != "cyclonedds"]
        assert not heavy & set(_closure(asked)), extra
    # typer, behind the command `serve`, brings pydantic; the runtime alone does without.
    assert "pydantic" not in _closure(EXTRAS["runtime"])
    assert EXTRAS["runtime"] == ["numpy", "onnxruntime"]


def _environment(folder: Path, requirements: list[str]) -> Path:
    """A virtual environment with links to what requirements need, and nothing more."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    for found in _closure(requirements).values():
        tops = {Path(str(file)).parts[0] for file in found.files or []} - {"..", "__pycache__"}
        for top in tops:
            if not (site / top).exists():
                (site / top).symlink_to(str(found.locate_file(top)))
    return folder / "bin" / "python"


def _pip(*arguments: object) -> None:
    command = [sys.executable, "-m", "pip", *map(str, arguments), "--no-index", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("extra", ["runtime", "serve", "ros2"])
def test_a_wheel_runs_a_policy_where_neither_torch_nor_dvc_nor_pydantic_is(
    extra: str, exported: tuple[Checkpoint, Path], params: Params, tmp_path: Path
) -> None:
    if extra == "ros2":
        pytest.importorskip("cyclonedds", reason="the extra ros2 is not installed")
    try:
        distribution("setuptools")
    except PackageNotFoundError:
        pytest.skip("a wheel is built by setuptools, which is not installed; no network is used")
    # Built from a copy: setuptools leaves folders in its source tree.
    source = tmp_path / "source"
    shutil.copytree(
        REPOSITORY / "pipeline", source / "pipeline", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source / name)
    _pip("wheel", "--no-deps", "--no-build-isolation", "-w", tmp_path / "wheels", source)
    (wheel,) = (tmp_path / "wheels").glob("*.whl")
    python = _environment(tmp_path / "robot", EXTRAS[extra])
    # With its dependencies but without an index: pip fails if the extra asks for anything else.
    _pip("--python", python, "install", f"{wheel}[{extra}]")
    limits = RobotModel.from_params(params.robot).limits
    deployment = Deployment.from_params(params.execution, limits)
    folder = tmp_path / "export"
    folder.mkdir()
    export_onnx(exported[0], folder / "policy.onnx", 18, {"deployment": deployment.to_json()})

    def on_the_robot(*arguments: str) -> str:
        command = [python, "-I", *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, check=True, cwd=tmp_path
        ).stdout

    told = json.loads(on_the_robot("-c", RUN, str(folder)))
    assert told["backend"] == "onnxruntime"
    assert told["from"].startswith(str(tmp_path / "robot"))
    assert (
        told["found"]
        == {
            "runtime": [],
            "serve": ["pydantic", "rich", "websockets"],
            "ros2": ["pydantic", "ruamel", "rich"],
        }[extra]
    )
    assert len(told["commands"]) == 9
    if extra == "serve":
        assert "WebSocket" in on_the_robot("-m", "pipeline", "serve", "--help")
    if extra == "ros2":
        on_the_robot("-c", "import pipeline.ros2.node, pipeline.ros2.controller")
        on_the_robot("-c", "import pipeline.ros2.recorder, pipeline.ros2.bag")

"""Which backend is taken, and why not the others."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest

import pipeline
from pipeline.export.graph import export_onnx
from pipeline.params import Params
from pipeline.policy.checkpoint import Checkpoint, save_checkpoint
from pipeline.robot.model import RobotModel
from pipeline.runtime.backends import driver_process, tensorrt_engine
from pipeline.runtime.backends.cuda import CudaError
from pipeline.runtime.backends.driver_process import Gpu, find_gpus
from pipeline.runtime.backends.engine_store import build, engine_name
from pipeline.runtime.deployment import Deployment, DeploymentError
from pipeline.runtime.load import load_policy

REPOSITORY = Path(__file__).parents[2]
has_library = pytest.mark.skipif(
    find_spec("tensorrt_rtx") is None, reason="tensorrt-rtx is for Linux x86-64"
)
no_gpu = pytest.mark.skipif(bool(find_gpus()[0]), reason="this machine has a GPU")


@pytest.fixture(scope="module")
def deployment(params: Params) -> Deployment:
    limits = RobotModel.from_params(params.robot).limits
    return Deployment.from_params(params.execution, limits)


@pytest.fixture(scope="module")
def folder(
    exported: tuple[Checkpoint, Path],
    deployment: Deployment,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """As stage export leaves it, without engines."""
    place = tmp_path_factory.mktemp("export")
    export_onnx(exported[0], place / "policy.onnx", 18, {"deployment": deployment.to_json()})
    return place


@no_gpu
def test_without_a_gpu_auto_takes_onnx_runtime_and_says_why(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        policy = pipeline.load_policy(folder)
    assert policy.name == "onnxruntime"
    assert "runs on onnxruntime (tensorrt: no NVIDIA driver" in caplog.text
    with pytest.raises(DeploymentError, match=r"no backend runs it here.*rtx: no NVIDIA"):
        pipeline.load_policy(folder, backend="tensorrt-rtx")


def test_a_checkpoint_runs_on_torch_with_settings_that_are_given(
    exported: tuple[Checkpoint, Path], deployment: Deployment, folder: Path, tmp_path: Path
) -> None:
    save_checkpoint(tmp_path / "best_model.pt", exported[0])
    with pytest.raises(DeploymentError, match="holds no execution settings"):
        load_policy(tmp_path / "best_model.pt")
    eager = load_policy(tmp_path / "best_model.pt", deployment=deployment)
    graph = load_policy(folder / "policy.onnx", backend="onnxruntime")
    assert (eager.name, graph.name) == ("torch", "onnxruntime")
    obs = exported[0].examples.numpy()
    np.testing.assert_allclose(eager.predict(obs), graph.predict(obs), atol=1e-5)


def test_what_cannot_be_loaded_is_refused_with_the_reason(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "old.engine").write_bytes(b"engine")
    (tmp_path / "broken.onnx").write_bytes(b"not a graph")
    for path, words in (
        (tmp_path, "the folder has no policy.onnx"),
        (tmp_path / "no.pt", "no such file or folder"),
        (tmp_path / "old.engine", "load the export folder"),
        (tmp_path / "broken.onnx", "onnxruntime: .*cannot load"),
    ):
        with pytest.raises(DeploymentError, match=words):
            load_policy(path)
    with pytest.raises(DeploymentError, match="'cuda' is unknown; known: auto, tensorrt"):
        load_policy(folder, backend="cuda")


def test_an_export_without_settings_for_the_robot_says_so(
    exported: tuple[Checkpoint, Path],
) -> None:
    assert "deployment" not in {p.key for p in onnx.load(str(exported[1])).metadata_props}
    with pytest.raises(DeploymentError, match="export the policy with"):
        load_policy(exported[1], backend="onnxruntime")


def test_a_robot_imports_neither_torch_nor_dvc_nor_pydantic(folder: Path) -> None:
    script = (
        "import sys, numpy as np, pipeline\n"
        f"policy = pipeline.load_policy({str(folder)!r}, backend='onnxruntime')\n"
        "policy.act({'joint_pos': np.zeros(6), 'pen_pos': np.zeros(3),"
        " 'pen_axis': np.array([0.0, 0.0, 1.0])})\n"
        "heavy = {'torch', 'dvc', 'pydantic', 'ruamel', 'rich', 'zarr', 'mujoco', 'pinocchio',"
        " 'scipy', 'matplotlib', 'typer', 'onnx'}\n"
        "print(sorted(heavy & {name.partition('.')[0] for name in sys.modules}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=REPOSITORY
    )
    assert done.stdout.strip() == "[]"


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The engines that were to be loaded, as if this machine had a GPU; none of them loads."""
    asked: list[Path] = []

    class NoEngine:
        def __init__(self, engine: Path, *_: object) -> None:
            asked.append(engine)
            raise CudaError("no GPU to run it")

    monkeypatch.setattr(driver_process, "find_gpus", lambda: ([Gpu("A", "8.6", "13.0")], ""))
    monkeypatch.setattr(tensorrt_engine, "EnginePolicy", NoEngine)
    return asked


@has_library
def test_a_cache_that_cannot_be_written_leaves_onnx_runtime(
    engines: list[Path], folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cache").write_text("a file where a folder should be")
    with caplog.at_level(logging.INFO):
        assert load_policy(folder, cache=tmp_path / "cache").name == "onnxruntime"
    assert f"cannot be kept in {tmp_path / 'cache'}" in caplog.text
    assert engines == []


def test_without_a_home_folder_onnx_runtime_is_left(
    engines: list[Path], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    assert load_policy(folder).name == "onnxruntime"


@has_library
def test_the_engines_of_a_fetched_policy_are_never_loaded(
    engines: list[Path], folder: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    fetched = shutil.copytree(folder, cache / "releases" / "repository" / "commit")
    shipped = fetched / "engines" / engine_name("tensorrt-rtx", "8.6")
    shipped.parent.mkdir()
    built = build(fetched / "policy.onnx", shipped, "tensorrt-rtx", "8.6", (1, 1, 1))
    assert built["status"] == "built", built
    own = shutil.copytree(fetched, tmp_path / "export")
    for path, expected in ((own, own / "engines"), (fetched, cache)):
        with pytest.raises(DeploymentError, match="no GPU to run it"):
            load_policy(path, "tensorrt-rtx", cache=cache)
        assert engines.pop().parent == expected

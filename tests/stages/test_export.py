from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.export.engines import EngineReport
from pipeline.hashing import sha256_file
from pipeline.layout import Layout
from pipeline.params import Params
from pipeline.policy.checkpoint import Checkpoint, CheckpointError, make_config, save_checkpoint
from pipeline.policy.model import PolicyModel
from pipeline.robot.chain import policy_geometry
from pipeline.robot.model import RobotModel
from pipeline.runtime.backends.onnx_runtime import OnnxRuntimePolicy
from pipeline.stages import export


@pytest.fixture(scope="session")
def small(params: Params) -> Params:
    chosen = params.override("policy", mlp_width=32, mlp_blocks=1, step_embedding=16)
    return chosen.override("export", targets=["8.9"], latency_calls=10)


@pytest.fixture(scope="session")
def checkpoint(small: Params, tmp_path_factory: pytest.TempPathFactory) -> Path:
    layout = Layout.from_params(small)
    geometry = policy_geometry(RobotModel.from_params(small.robot), small.task)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        weights = PolicyModel(small.policy, layout, geometry).state_dict()
        examples = torch.randn(5, 2, layout.state_dim)
    config = make_config(small.policy, layout, geometry, 30.0)
    path = tmp_path_factory.mktemp("model") / "best_model.pt"
    save_checkpoint(path, Checkpoint(weights, weights, config, {}, layout, examples))
    return path


@pytest.fixture(scope="session")
def exported(small: Params, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("export") / "out"
    export.run(small, out, checkpoint)
    return out


def test_numbers_for_dvc_are_those_of_the_report(exported: Path) -> None:
    report = json.loads((exported / "export.json").read_text())
    metrics = json.loads((exported / "metrics.json").read_text())
    for name, latency in metrics["latency_ms"].items():
        assert latency == report["backends"][name]["latency_batch_1"]["median_ms"] > 0
    assert metrics["parity_rad"] == max(report["parity"]["max_abs_rad"].values())


def test_the_report_says_what_was_done(exported: Path, checkpoint: Path) -> None:
    report = json.loads((exported / "export.json").read_text())
    assert report["model"]["sha256"] == sha256_file(checkpoint)
    assert report["onnx"]["sha256"] == sha256_file(exported / "policy.onnx")
    assert report["onnx"]["inputs"] == {"obs": ["batch", 2, 25], "noise": ["batch", 16, 6]}
    assert report["onnx"]["outputs"] == {"action": ["batch", 16, 6]}
    assert report["onnx"]["opset"] == 20
    assert set(report["parity"]["max_abs_rad"]) == {"1", "3", "64"}
    assert max(report["parity"]["max_abs_rad"].values()) <= report["parity"]["limit_rad"]
    assert set(report["backends"]) == {"torch", "onnxruntime", "tensorrt-rtx", "tensorrt"}
    for name in ("torch", "onnxruntime"):
        assert report["backends"][name]["latency_batch_1"]["calls"] == 10
    assert report["machine"]["processor"]


def test_no_engine_claims_more_than_was_done(exported: Path) -> None:
    backends = json.loads((exported / "export.json").read_text())["backends"]
    engines = backends["tensorrt-rtx"] + backends["tensorrt"]
    assert [engine["target"] for engine in backends["tensorrt-rtx"]] == ["8.9"]
    for engine in engines:
        assert "latency_batch_1" not in engine
        if engine["status"] == "built and run":
            assert engine["max_abs_rad"] >= 0
        else:
            assert engine["reason"]
        if engine["status"].startswith("built"):
            file = exported / engine["file"]
            assert file.stat().st_size == engine["bytes"]
            assert file.with_suffix(".json").exists()


def test_the_exported_graph_runs_alone(exported: Path, checkpoint: Path) -> None:
    policy = OnnxRuntimePolicy(exported / "policy.onnx")
    action = policy.predict(np.ones((2, 25)), np.zeros((1, 16, 6)))
    assert action.shape == (1, 16, 6)


def test_a_graph_that_differs_is_not_written(
    small: Params,
    checkpoint: Path,
    exported: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graph = (exported / "policy.onnx").read_bytes()
    # The graph of before, not made again: that takes seconds and is not what is tested.
    monkeypatch.setattr(export, "export_onnx", lambda loaded, path, *_: path.write_bytes(graph))
    strict = small.override("export", parity_rad=1e-12)
    with pytest.raises(export.ParityError, match=r"export\.parity_rad"):
        export.run(strict, tmp_path / "out", checkpoint)
    assert list(tmp_path.iterdir()) == []


def _engines(folder: Path, difference_rad: float) -> list[EngineReport]:
    """What building leaves: an engine that ran here, and one for another GPU."""
    folder.mkdir()
    reports = []
    for target, status, difference in (
        ("8.9", "built and run", difference_rad), ("12.0", "built, not run", None),
    ):  # fmt: skip
        file = folder / f"policy-tensorrt-rtx-sm{target.replace('.', '')}.engine"
        file.write_bytes(b"engine")
        file.with_suffix(".json").write_text("{}")
        reports.append(
            EngineReport(
                "tensorrt-rtx", target, status, version="1.7", bytes=6, seconds=4.2,
                file=f"{folder.name}/{file.name}", max_abs_rad=difference,
            )
        )  # fmt: skip
    return reports


@pytest.mark.parametrize(
    ("precision", "difference_rad", "passes"),
    [
        ("float32", 2e-4, False),
        ("float32", 9e-5, True),
        ("float16", 2e-4, True),
        ("float16", 6e-3, False),
        ("float32", float("nan"), False),
    ],
)
def test_an_engine_that_differs_is_reported_as_failed_and_the_rest_is_kept(
    small: Params,
    checkpoint: Path,
    exported: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    precision: str,
    difference_rad: float,
    passes: bool,
) -> None:
    graph = (exported / "policy.onnx").read_bytes()
    monkeypatch.setattr(export, "export_onnx", lambda checkpoint, path, *_: path.write_bytes(graph))
    monkeypatch.setattr(
        export, "build_engines", lambda onnx, folder, *_: iter(_engines(folder, difference_rad))
    )
    chosen = small.override("export", precision=precision)
    out = tmp_path / "out"
    export.run(chosen, out, checkpoint)
    ran, other = json.loads((out / "export.json").read_text())["backends"]["tensorrt-rtx"]
    assert other["status"] == "built, not run" and (out / other["file"]).is_file()
    kept = {path.name for path in (out / "engines").iterdir()}
    assert (out / "policy.onnx").read_bytes() == graph
    if passes:
        assert ran["status"] == "built and run" and (out / ran["file"]).is_file()
    else:
        limit = "half_parity_rad" if precision == "float16" else "engine_parity_rad"
        assert ran["status"] == "failed" and f"export.{limit} allows" in ran["reason"]
        assert kept == {"policy-tensorrt-rtx-sm120.engine", "policy-tensorrt-rtx-sm120.json"}
        assert "file" not in ran and "seconds" in ran
        assert ("max_abs_rad" in ran) == np.isfinite(difference_rad)


def test_a_missing_checkpoint_is_named(small: Params, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nowhere\.pt"):
        export.run(small, tmp_path / "out", tmp_path / "nowhere.pt")

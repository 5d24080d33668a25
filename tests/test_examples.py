"""Another arm, with seven joints of which the first slides, needs only other parameters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from examples import rail_arm
from pipeline.params import Params, load_params
from pipeline.robot.model import RobotModel
from pipeline.stages import collect, dataset, evaluate, export, ingest, train

REPOSITORY = Path(__file__).parents[1]
FEW: dict[str, dict[str, Any]] = {
    "collect": {"episodes": 12, "workers": 1},
    "ingest": {"cache_gb": 0.0},
    "train": {"num_epochs": 2, "rollout_every": 2, "rollout_pens": 2},
    "policy": {"mlp_width": 32, "mlp_blocks": 1},
    "evaluate": {"pens": 4, "robustness": "off", "grasp_pens": 2, "films": 1},
    "export": {"targets": (), "latency_calls": 5},
}


@pytest.fixture
def rail(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Params:
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    params = load_params(rail_arm.TARGET)
    for section, changes in FEW.items():
        params = params.override(section, **changes)
    return params


def chain(params: Params, out: Path) -> tuple[Any, Any]:
    """Run the chain up to the data set; return the groups of the episodes and of the data set."""
    collect.run(params, out / "collect")
    ingest.run(params, out / "ingest", out / "collect/bag")
    dataset.run(params, out / "dataset", out / "ingest/episodes.zarr")
    return (
        zarr.open_group(out / "ingest/episodes.zarr", mode="r"),
        zarr.open_group(out / "dataset/pen_grasp.zarr", mode="r"),
    )


def test_the_example_s_parameters_differ_only_in_the_arm(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(REPOSITORY)
    written = rail_arm.TARGET.read_text()
    assert written == rail_arm.text(), "params.yaml changed: run `python -m examples.rail_arm`"


def test_a_sliding_joint_stays_within_its_limits_from_plan_to_data_set(
    rail: Params, tmp_path: Path
) -> None:
    episodes, data = chain(rail, tmp_path)
    robot = RobotModel.from_params(rail.robot)
    assert robot.velocity_limits[0] == 0.8 and robot.upper[0] == 0.3  # m/s, m
    report = json.loads((tmp_path / "ingest/report.json").read_text())
    assert report["totals"] == {"accepted": 12, "warned": 0, "rejected": 0}
    position, speed = episodes["data/joint_pos"][:], np.abs(episodes["data/joint_vel"][:])
    assert np.ptp(position[:, 0]) > 0.05, "the rail moves"
    assert ((position >= robot.lower - 1e-6) & (position <= robot.upper + 1e-6)).all()
    assert (speed <= robot.velocity_limits + 1e-6).all()
    np.testing.assert_allclose(
        episodes["data/ee_pose"][:40, :3], robot.fk(position[:40])[:, :3], atol=1e-9
    )
    assert data["data/state"].shape[1] == 27 and data["data/action"].shape[1] == 7


@pytest.mark.slow
def test_the_whole_chain_works_with_another_arm(rail: Params, tmp_path: Path) -> None:
    _, data = chain(rail, tmp_path)
    path = Path(data.store.root)
    train.run(rail, tmp_path / "train", path)
    model = tmp_path / "train/best_model.pt"
    evaluate.run(rail, tmp_path / "evaluate", model, path)
    metrics = json.loads((tmp_path / "evaluate/metrics.json").read_text())
    assert metrics["closed_loop"]["n"] == 4
    assert np.isfinite(metrics["open_loop"]["joint_rmse_deg"])
    export.run(rail, tmp_path / "export", model)
    report = json.loads((tmp_path / "export/export.json").read_text())
    assert report["parity"]["passed"] and report["onnx"]["outputs"]["action"][2] == 7

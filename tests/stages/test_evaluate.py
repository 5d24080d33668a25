"""Evaluate on a data set of real plans and an untrained policy: bad, but measured."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.dataset.zarr_arrays import create_array, create_group
from pipeline.evaluation.draw import draw_trials
from pipeline.evaluation.predictors import load_predictors
from pipeline.evaluation.robustness import Suite, conditions
from pipeline.evaluation.suites.families import load_on_cpu, make_loop
from pipeline.evaluation.trials import expert_commands
from pipeline.layout import Layout, LayoutError
from pipeline.params import Params
from pipeline.policy.checkpoint import Checkpoint, make_config, save_checkpoint
from pipeline.policy.model import PolicyModel
from pipeline.robot.chain import policy_geometry
from pipeline.robot.model import RobotModel
from pipeline.robot.planner import Planner, seed_planning
from pipeline.stages import evaluate

RATE_HZ = 30.0


@pytest.fixture(scope="module")
def small(params: Params) -> Params:
    chosen = params.override("policy", mlp_width=32, mlp_blocks=1, step_embedding=16)
    return chosen.override(
        "evaluate",
        pens=4,
        rollout_steps=70,
        open_loop_windows=30,
        grasp_pens=2,
        robustness_pens=2,
    )


@pytest.fixture(scope="module")
def data(small: Params, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four episodes, the last two of them for testing."""
    robot, layout = RobotModel.from_params(small.robot), Layout.from_params(small)
    trials = draw_trials(Planner(small.robot, small.task, small.collect), small.task, 4, seed=3)
    commands = expert_commands(trials, RATE_HZ, 40)
    state = layout.pack(
        {
            "joint_pos": commands,
            "joint_vel": np.zeros_like(commands),
            "ee_pose": robot.fk(commands),
            "object_pos": trials.object_pos[:, None],
            "object_axis": trials.object_axis[:, None],
        }
    )
    path = tmp_path_factory.mktemp("data") / "pen_grasp.zarr"
    group = create_group(path, 2)
    arrays = {
        "data/state": state.reshape(160, -1),
        "data/action": commands.reshape(160, -1).astype(np.float32),
        "meta/episode_ends": np.array([40, 80, 120, 160], np.int64),
        "meta/split": np.array([0, 1, 2, 2], np.int8),
    }
    for name, array in arrays.items():
        create_array(group, name, array.shape, array.dtype.name, 1000)[:] = array
    group.attrs.update({"layout": layout.to_dict(), "rate_hz": RATE_HZ})
    return path


def _checkpoint(params: Params, path: Path, rate_hz: float | None = RATE_HZ) -> Path:
    layout = Layout.from_params(params)
    geometry = policy_geometry(RobotModel.from_params(params.robot), params.task)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        weights = PolicyModel(params.policy, layout, geometry).state_dict()
    config = make_config(params.policy, layout, geometry, rate_hz)
    save_checkpoint(path, Checkpoint(weights, weights, config, {}, layout, torch.zeros(1, 2, 25)))
    return path


@pytest.fixture(scope="module")
def evaluated(small: Params, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluated")
    evaluate.run(small, folder / "out", _checkpoint(small, folder / "best_model.pt"), data)
    return folder / "out"


def test_metrics_say_what_the_contract_says(evaluated: Path) -> None:
    metrics = json.loads((evaluated / "metrics.json").read_text())
    assert metrics["closed_loop"]["n"] == 4
    assert metrics["closed_loop"]["success_strict"] == 0.0, "an untrained policy reaches nothing"
    low, high = metrics["closed_loop"]["ci95_strict"]
    assert low == 0.0
    assert 0.4 < high < 0.6
    assert metrics["expert"]["success_strict"] == 1.0
    assert metrics["stand_still"]["success_team"] == 0.0
    assert metrics["open_loop"]["episodes"] == 2
    assert metrics["open_loop"]["windows"] == 30
    assert metrics["open_loop"]["joint_rmse_deg"] > 1
    assert sum(metrics["failures"].values()) == 4
    assert metrics["grasp"]["n"] == metrics["grasp"]["expert"]["n"] == 2
    assert metrics["grasp"]["success"] == 0.0
    assert metrics["grasp"]["expert"]["success"] == 1.0


def test_the_exported_graph_drives_the_same_pens(evaluated: Path) -> None:
    backends = json.loads((evaluated / "metrics.json").read_text())["backends"]
    assert list(backends) == ["torch", "onnxruntime"]
    assert {row["status"] for row in backends.values()} == {"driven"}
    assert backends["torch"]["max_joint_difference_rad"] == 0.0
    assert backends["onnxruntime"]["n"] == 4
    assert backends["onnxruntime"]["max_joint_difference_rad"] < 1e-2
    report = (evaluated / "report.html").read_text(encoding="utf-8")
    assert "trials with each backend" in report


def test_without_grasps_and_with_short_rollouts_the_expert_still_arrives(
    small: Params, data: Path, tmp_path: Path
) -> None:
    short = small.override(
        "evaluate", pens=2, rollout_steps=5, grasp_pens=0, backends=("torch",), robustness="off"
    )
    evaluate.run(short, tmp_path / "out", _checkpoint(small, tmp_path / "m.pt"), data)
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    assert metrics["expert"]["success_strict"] == 1.0
    assert "grasp" not in metrics


def test_tables_and_pictures_are_written(evaluated: Path) -> None:
    with (evaluated / "rollouts.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    assert float(rows[0]["pen_pos_x"]) > 0.1
    assert {row["strict"] for row in rows} == {"0"}
    with (evaluated / "failures.csv").open() as file:
        failures = list(csv.DictReader(file))
    assert len(failures) == 4
    assert all(row["nearest_episodes"].startswith("0:") for row in failures), "one training episode"
    with (evaluated / "error_over_time.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 70
    assert len(list((evaluated / "plots").glob("*.png"))) == 6
    page = (evaluated / "report.html").read_text(encoding="utf-8")
    assert "strict and free of contact: 0 of n = 4" in page


def test_the_robustness_suite_is_reported(evaluated: Path) -> None:
    metrics = json.loads((evaluated / "metrics.json").read_text())
    assert metrics["execution"]["commands"] == 4 * 70 * 6
    assert metrics["execution"]["starved_steps"] == 0
    assert set(metrics["execution"]["clipped"]) == {"position", "velocity", "acceleration"}
    noise = metrics["robustness"]["noise_mm_5"]
    assert noise["n"] == 2
    assert noise["success_strict"] == noise["ci95_strict"][0] == 0.0
    assert list(metrics["robustness"]) == [each.name for each in conditions("short", RATE_HZ)]
    nominal, all_trials = metrics["robustness"]["nominal_0"], metrics["closed_loop"]
    assert nominal["n"] == 2 and nominal["success_strict"] == all_trials["success_strict"]
    with (evaluated / "robustness.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len(metrics["robustness"])


def test_a_condition_measures_the_same_in_any_process(
    evaluated: Path, small: Params, data: Path
) -> None:
    policy = load_on_cpu(evaluated.parent / "best_model.pt")
    seed_planning(small.evaluate.seed)
    planner = Planner(small.robot, small.task, small.collect)
    trials = draw_trials(planner, small.task, 4, small.evaluate.seed)
    loop = make_loop(small, policy, RATE_HZ)
    suite = Suite(
        load_predictors(policy, ["torch"], small)[0], loop, trials.first(2), planner, small
    )
    chosen = [each for each in conditions("short", RATE_HZ) if each.name == "noise_mm_5"]
    metrics = json.loads((evaluated / "metrics.json").read_text())
    assert [each.summary for each in suite.run(chosen)] == [metrics["robustness"]["noise_mm_5"]]


def test_the_robustness_suite_can_be_left_out(small: Params, data: Path, tmp_path: Path) -> None:
    off = small.override(
        "evaluate", robustness="off", pens=2, rollout_steps=20, backends=("torch",)
    )
    evaluate.run(off, tmp_path / "out", _checkpoint(small, tmp_path / "m.pt"), data)
    assert json.loads((tmp_path / "out/metrics.json").read_text())["robustness"] == {}
    assert not (tmp_path / "out/robustness.csv").exists()


def test_another_layout_is_refused_by_name(small: Params, data: Path, tmp_path: Path) -> None:
    other = small.override("task", object="cup")
    with pytest.raises(LayoutError, match="cup"):
        evaluate.run(other, tmp_path / "out", _checkpoint(other, tmp_path / "m.pt"), data)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("rate_hz", "words"), [(None, "without a rate"), (20.0, "20.0 Hz.*30.0")])
def test_a_policy_of_another_rate_is_refused(
    small: Params, data: Path, tmp_path: Path, rate_hz: float | None, words: str
) -> None:
    model = _checkpoint(small, tmp_path / "m.pt", rate_hz)
    with pytest.raises(evaluate.EvaluateError, match=words):
        evaluate.run(small, tmp_path / "out", model, data)

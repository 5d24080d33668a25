"""The open loop: a perfect prediction has no error, a known one has the known error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.dataset.store import Dataset
from pipeline.evaluation.open_loop import OpenLoop, OpenLoopError, compare
from pipeline.evaluation.rollout import Array, Observations, Predict
from pipeline.layout import Layout
from pipeline.params import Params
from pipeline.robot.model import RobotModel

STEPS, EPISODES = 30, 3


@pytest.fixture(scope="module")
def dataset(params: Params) -> Dataset:
    """Joints that all rise as the square of time; the state says how far they are."""
    layout = Layout.from_params(params)
    joints = np.tile((np.arange(STEPS) / STEPS)[:, None] ** 3 * 0.5, (EPISODES, 6))
    state = np.zeros((len(joints), 25), np.float32)
    state[:, :6] = joints
    ends = np.arange(1, EPISODES + 1) * STEPS
    split = np.array([0, 2, 2], np.int8)
    return Dataset(Path("x"), state, joints.astype(np.float32), ends, split, 30.0, layout, {}, {})


def _compare(
    dataset: Dataset, params: Params, predict: Predict, most: int = 0, scale: float = 1.0
) -> OpenLoop:
    model = RobotModel.from_params(params.robot)
    return compare(predict, dataset, model, 16, 2, 30.0, most, seed=0, noise_scale=scale)


def _expert(dataset: Dataset, shift_rad: float) -> Predict:
    def predict(obs: Observations, noise: Observations) -> Array:
        now = np.argmin(np.abs(dataset.action[:STEPS, 0] - obs[:, -1:, 0]), axis=1)
        rows = np.minimum(now[:, None] + np.arange(16), STEPS - 1)
        return dataset.action[rows].astype(np.float64) + shift_rad

    return predict


def test_a_perfect_prediction_has_no_error(dataset: Dataset, params: Params) -> None:
    result = _compare(dataset, params, _expert(dataset, 0.0))
    assert result.summary["episodes"] == 2
    assert result.summary["windows"] == 2 * STEPS
    assert result.summary["joint_rmse_deg"] == 0
    assert result.summary["ee_rmse_mm"] == pytest.approx(0, abs=1e-9)
    assert result.summary["jerk_ratio"] == pytest.approx(1)


def test_a_shifted_prediction_has_the_shift_s_error(dataset: Dataset, params: Params) -> None:
    result = _compare(dataset, params, _expert(dataset, 0.1))
    assert result.per_joint_deg == pytest.approx(np.full(6, np.degrees(0.1)))
    assert result.per_step_deg == pytest.approx(np.full(16, np.degrees(0.1)))
    assert result.summary["ee_rmse_mm"] > 10


def test_fewer_windows_are_spread_over_the_episodes(dataset: Dataset, params: Params) -> None:
    result = _compare(dataset, params, _expert(dataset, 0.0), most=7)
    assert result.predicted.shape == (7, 16, 6)


@pytest.mark.parametrize("scale", [0.0, 0.5])
def test_the_noise_is_scaled_as_in_the_closed_loop(
    dataset: Dataset, params: Params, scale: float
) -> None:
    expert, drawn = _expert(dataset, 0.0), []

    def predict(obs: Observations, noise: Observations) -> Array:
        drawn.append(noise)
        return expert(obs, noise) + noise

    error = _compare(dataset, params, predict, scale=scale).summary["joint_rmse_deg"]
    assert error == pytest.approx(np.degrees(scale), rel=0.05)
    assert drawn[0].dtype == np.float32


def test_a_data_set_without_test_episodes_is_refused(dataset: Dataset, params: Params) -> None:
    untested = Dataset(
        Path("x"), dataset.state, dataset.action, dataset.episode_ends,
        np.zeros(EPISODES, np.int8), 30.0, dataset.layout, {}, {},
    )  # fmt: skip
    with pytest.raises(OpenLoopError, match="no test episode among 3"):
        _compare(untested, params, _expert(dataset, 0.0))

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.dataset.store import Dataset
from pipeline.evaluation.rollout_validation import RolloutValidation, RolloutValidationError
from pipeline.evaluation.trials import Trials
from pipeline.layout import Layout
from pipeline.obstacles import box
from pipeline.params import Params
from pipeline.robot.model import RobotModel

RATE_HZ = 30.0


@pytest.fixture(scope="module")
def dataset(params: Params, trials: Trials) -> Dataset:
    """The expert's plans as three validation episodes."""
    layout, model = Layout.from_params(params), RobotModel.from_params(params.robot)
    states, ends = [], []
    for plan, position, axis in zip(
        trials.plans, trials.object_pos, trials.object_axis, strict=True
    ):
        joints = plan.sample(np.arange(0, plan.duration_s + 0.2, 1 / RATE_HZ))
        values = {
            "joint_pos": joints,
            "joint_vel": np.zeros_like(joints),
            "ee_pose": model.fk(joints),
            "object_pos": np.tile(position, (len(joints), 1)),
            "object_axis": np.tile(axis, (len(joints), 1)),
        }
        states.append(layout.pack(values))
        ends.append(len(joints))
    state = np.concatenate(states)
    action = np.ascontiguousarray(state[:, layout.field("joint_pos").slice])
    split = np.ones(len(ends), np.int8)
    return Dataset(Path("a.zarr"), state, action, np.cumsum(ends), split, RATE_HZ, layout, {}, {})


def test_following_the_expert_succeeds_and_standing_still_fails(
    params: Params, dataset: Dataset
) -> None:
    validation = RolloutValidation.from_dataset(dataset, params)
    home = validation.trials.plans[0].joint_pos[0]
    goals = np.stack([plan.joint_pos[-1] for plan in validation.trials.plans])

    def towards(obs: NDArray[np.float32], noise: NDArray[np.float32]) -> NDArray[np.float64]:
        now = obs[:, -1, :6].astype(np.float64)
        share = np.linspace(0.05, 0.8, noise.shape[1])[None, :, None]
        return now[:, None] + share * (goals - now)[:, None]

    def still(obs: NDArray[np.float32], noise: NDArray[np.float32]) -> NDArray[np.float64]:
        return np.tile(home, (*noise.shape[:2], 1))

    reached, stood = validation.score(towards), validation.score(still)
    assert reached.error_mm < 5
    assert reached.success > stood.success == 0
    assert stood.error_mm > 50
    assert validation.score(towards) == reached


def test_no_more_rollouts_than_validation_episodes(params: Params, dataset: Dataset) -> None:
    assert len(RolloutValidation.from_dataset(dataset, params).trials) == 3
    few = params.override("train", rollout_pens=2)
    assert len(RolloutValidation.from_dataset(dataset, few).trials) == 2


def test_an_unsuitable_data_set_is_rejected_with_the_reason(
    params: Params, dataset: Dataset
) -> None:
    with pytest.raises(RolloutValidationError, match="no rate_hz"):
        RolloutValidation.from_dataset(replace(dataset, rate_hz=None), params)
    with pytest.raises(
        RolloutValidationError, match=r"starts with joint_2 at .* as robot.urdf says"
    ):
        beyond = dataset.state.copy()
        beyond[:, 1] = 3.0
        RolloutValidation.from_dataset(replace(dataset, state=beyond), params)
    with pytest.raises(RolloutValidationError, match="0 of 3 of its episodes end within 30 mm"):
        elsewhere = dataset.state.copy()
        elsewhere[:, dataset.layout.field("object_pos").slice] += 1.0
        RolloutValidation.from_dataset(replace(dataset, state=elsewhere), params)
    bare = Layout.build(dataset.layout.joints, "pen", ("joint_pos", "joint_vel"))
    with pytest.raises(RolloutValidationError, match="object_pos, object_axis"):
        RolloutValidation.from_dataset(replace(dataset, layout=bare), params)


def test_obstacles_of_the_episodes_are_seen_and_guarded_against(
    params: Params, dataset: Dataset
) -> None:
    rows = np.stack([box([0.4, 0.4, 0.3], [0.1, 0.1, 0.1])]).astype(np.float32)
    ends = np.array([1] * dataset.num_episodes)  # the first episode has one obstacle
    arranged = replace(dataset, obstacle_rows=rows, obstacle_ends=ends)
    plain, loop = (
        RolloutValidation.from_dataset(data, params).loop for data in (dataset, arranged)
    )
    assert (plain.guard, plain.obstacle_slots) == (None, 0)
    assert loop.guard is not None
    assert loop.obstacle_slots == params.policy.max_obstacles
    validation = RolloutValidation.from_dataset(arranged, params)
    assert [len(validation.trials.around(trial)) for trial in range(3)] == [1, 0, 0]

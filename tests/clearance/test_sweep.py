"""Tests which parts of a motion are sampled, and how densely."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from pipeline.clearance.model import ClearanceModel
from pipeline.clearance.objects import Objects
from pipeline.clearance.sweep import Sweep
from pipeline.params import Params
from pipeline.robot.chain import kinematic_chain
from pipeline.robot.covering import collision_geometry
from pipeline.robot.model import RobotModel

SPACING_M = 0.01
PEN = Objects(np.array([[0.45, 0.0, 0.1]]), np.array([[0.0, 0.0, 1.0]]))


@pytest.fixture(scope="module")
def sweep(params: Params) -> Sweep:
    robot = RobotModel.from_params(params.robot)
    shapes = collision_geometry(params.robot, params.task)
    model = ClearanceModel(kinematic_chain(robot), robot.joints, shapes, robot.limits)
    return Sweep(model, SPACING_M)


def _motion(goal: float) -> np.ndarray:
    """From home down to the table by the second joint: (1, 9, 6)."""
    motion = np.tile([0.0, -0.3, 0.8, 0.0, 1.57, 0.0], (1, 9, 1))
    motion[0, :, 1] += np.linspace(0, goal, 9)
    return motion


def test_a_motion_far_from_everything_needs_no_samples(sweep: Sweep) -> None:
    near = sweep.near(_motion(0.1), PEN, np.full(len(sweep.model.pairs), 0.005))
    assert len(near.sample) == len(near.motion) == 0


def test_close_steps_are_sampled_densely_and_their_pairs_are_found(sweep: Sweep) -> None:
    motion, within = _motion(1.6), np.full(len(sweep.model.pairs), 0.015)
    near = sweep.near(motion, PEN, within)
    measured = sweep.measure(motion, PEN, near).distance
    # Against every pair at 50 places of every step.
    share = np.linspace(0, 1, 50)[:, None]
    dense = np.concatenate([a + share * (b - a) for a, b in pairwise(motion[0])])
    everywhere = PEN.of(np.zeros(len(dense), dtype=np.int64))
    poses = sweep.model.poses(dense, everywhere)
    sample, pair = np.divmod(np.arange(len(dense) * len(within)), len(within))
    exact = sweep.model.clearances(poses, sample, pair).distance
    assert exact.min() < 0
    assert measured.min() == pytest.approx(exact.min(), abs=SPACING_M / 2)
    assert set(pair[exact < 0.01]) <= set(near.pair.tolist())
    ways = np.abs(np.diff(motion[0], axis=0)) @ sweep.model.reach
    for step in set(near.step.tolist()):
        number = int((near.step == step).sum())
        assert ways[step] / number <= SPACING_M + 1e-12


def test_combinations_can_be_removed(sweep: Sweep) -> None:
    motion = _motion(1.6)
    near = sweep.near(motion, PEN, np.full(len(sweep.model.pairs), 0.015))
    measured = sweep.measure(motion, PEN, near).distance
    keep = measured < 0.01
    fewer = near.only(keep)
    assert 0 < len(fewer.sample) < len(near.sample)
    np.testing.assert_allclose(sweep.measure(motion, PEN, fewer).distance, measured[keep])

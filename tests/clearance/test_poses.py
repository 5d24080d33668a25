"""Frames of a chain are those that SciPy's rotations give, joint by joint."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from pipeline.clearance.poses import JointFrames, chained
from pipeline.kinematics import ChainJoint, KinematicChain

NAMES = ("a", "b", "c", "d")


def _chain(rng: np.random.Generator, motions: list[str]) -> KinematicChain:
    """A chain with random placements, whose joints are NAMES from the last one to the first."""
    joints = []
    for name, motion in zip(reversed(NAMES), motions, strict=False):
        turn, place, axis = Rotation.random(rng=rng).as_matrix(), *rng.normal(size=(2, 3))
        axis /= np.linalg.norm(axis)
        made: dict[str, Any] = {
            "name": name, "motion": motion, "idle": False, "rotation": turn.tolist(),
            "translation": place.tolist(), "axis": axis.tolist(),
        }  # fmt: skip
        joints.append(ChainJoint(**made))
    still = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    return KinematicChain(tuple(joints), still, (0.0, 0.0, 0.0))


@given(
    st.lists(st.sampled_from(["revolute", "prismatic"]), min_size=0, max_size=4),
    st.integers(0, 1000),
)
def test_frames_are_chained_joint_by_joint(motions: list[str], seed: int) -> None:
    rng = np.random.default_rng(seed)
    chain, joint_pos = _chain(rng, motions), rng.uniform(-7, 7, (3, len(NAMES)))
    frames, axes = JointFrames(chain, NAMES)(joint_pos)
    assert frames.shape == (3, 4, len(motions) + 1, 3)
    assert axes.shape == (3, len(motions), 3)
    for sample, position in enumerate(joint_pos):
        turn, place = np.eye(3), np.zeros(3)
        for index, joint in enumerate(chain.joints):
            value, axis = position[NAMES.index(joint.name)], np.array(joint.axis)
            place, turn = place + turn @ joint.translation, turn @ np.array(joint.rotation)
            assert axes[:, index, sample] == pytest.approx(turn @ axis, abs=1e-12)
            if joint.motion == "prismatic":
                place = place + turn @ axis * value
            else:
                turn = turn @ Rotation.from_rotvec(value * axis).as_matrix()
            assert frames[:, :3, index + 1, sample] == pytest.approx(turn, abs=1e-12)
            assert frames[:, 3, index + 1, sample] == pytest.approx(place, abs=1e-11)
    np.testing.assert_array_equal(frames[:, :, 0], np.eye(3, 4)[..., None] * np.ones(3))


def test_frames_are_chained_as_homogeneous_matrices() -> None:
    both = np.random.default_rng(0).normal(size=(2, 3, 4))
    first, second = (np.concatenate([frame, [[0, 0, 0, 1]]]) for frame in both)
    found = chained(both[0][..., None], both[1][..., None])[..., 0]
    np.testing.assert_allclose(found, (first @ second)[:3])

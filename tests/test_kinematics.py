"""Chain and geometry survive JSON, malformed ones are rejected, and poses are right."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.kinematics import (
    ChainJoint,
    ForwardKinematics,
    Geometry,
    KinematicChain,
    KinematicsError,
    continue_paths,
    matrix,
    vector,
)
from pipeline.obstacles import ObstacleInput

EYE = matrix([[1, 0, 0], [0, 1, 0], [0, 0, 1]])
JOINT = ChainJoint("slide", "prismatic", EYE, (0.0, 0.1, 0.2), (0.0, 0.0, 1.0), False)
GEOMETRY = Geometry(KinematicChain((JOINT,), EYE, (0.0, 0.0, 0.12)), 0.06)


def test_a_geometry_survives_json() -> None:
    seen = ObstacleInput(4, ((1, (0.0, 0.1, 0.2)),), (0.1, -0.4, 0.0), (0.7, 0.4, 0.6))
    for geometry in (GEOMETRY, replace(GEOMETRY, obstacles=seen)):
        assert Geometry.from_dict(json.loads(json.dumps(geometry.to_dict()))) == geometry
    # Artefacts of policies without obstacles stay what they were.
    assert list(GEOMETRY.to_dict()) == ["chain", "grasp_offset_m"]


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"chain": {}, "grasp_offset_m": 0.1},
        {"chain": None, "grasp_offset_m": None},
        {**GEOMETRY.to_dict(), "obstacles": {"slots": 3}},
    ],
)
def test_a_malformed_geometry_is_rejected(data: dict[str, Any]) -> None:
    with pytest.raises(KinematicsError, match="make it again"):
        Geometry.from_dict(data)


def test_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match="unpack"):
        vector([1.0, 2.0])
    with pytest.raises(ValueError, match="expected 3"):
        matrix([[1, 2, 3]])


def test_a_sliding_and_a_revolute_joint() -> None:
    """Slide along x, then rotate by a quarter turn about z: the offset along x points along y."""
    quarter = matrix([[0, -1, 0], [1, 0, 0], [0, 0, 1]])
    slide = ChainJoint("slide", "prismatic", EYE, (0.0, 0.0, 0.5), (1.0, 0.0, 0.0), False)
    turn = ChainJoint("turn", "revolute", EYE, (0.0, 0.1, 0.0), (0.0, 0.0, 1.0), False)
    chain = KinematicChain((slide, turn), quarter, (0.2, 0.0, 0.0))
    fk = ForwardKinematics(chain, ("turn", "other", "slide"), np.zeros(3))
    pose = fk(np.array([[np.pi / 2, 9.0, 0.3], [0.0, 9.0, 0.0]]))
    np.testing.assert_allclose(pose[0, :3], [0.3, 0.3, 0.5], atol=1e-15)
    np.testing.assert_allclose(pose[0, 3:], [0.0, 0.0, 1.0, 0.0], atol=1e-15)
    np.testing.assert_allclose(pose[1, :3], [0.2, 0.1, 0.5], atol=1e-15)
    np.testing.assert_allclose(pose[1, 3:], [0, 0, np.sqrt(0.5), np.sqrt(0.5)], atol=1e-15)
    assert fk(np.zeros((0, 3))).shape == (0, 7)


def test_the_error_names_missing_joints() -> None:
    with pytest.raises(KinematicsError, match=r"slide.*robot\.joints"):
        ForwardKinematics(GEOMETRY.chain, ("a", "b"), np.zeros(2))


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(0, 99))
def test_each_path_is_continued_independently(lengths: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    quaternions = rng.normal(size=(sum(lengths), 4))
    ends = np.cumsum(lengths)
    found = continue_paths(quaternions, ends - lengths)
    for start, end in zip(ends - lengths, ends, strict=True):
        expected = quaternions[start:end].copy()
        for index in range(1, len(expected)):
            if expected[index] @ expected[index - 1] < 0:
                expected[index] *= -1
        np.testing.assert_array_equal(found[start:end], expected)

"""Chain and geometry survive JSON; what is none is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipeline.kinematics import (
    ChainJoint,
    Geometry,
    KinematicChain,
    KinematicsError,
    matrix,
    vector,
)

EYE = matrix([[1, 0, 0], [0, 1, 0], [0, 0, 1]])
JOINT = ChainJoint("slide", "prismatic", EYE, (0.0, 0.1, 0.2), (0.0, 0.0, 1.0), False)
GEOMETRY = Geometry(KinematicChain((JOINT,), EYE, (0.0, 0.0, 0.12)), 0.06)


def test_json_gives_the_geometry_back() -> None:
    assert Geometry.from_dict(json.loads(json.dumps(GEOMETRY.to_dict()))) == GEOMETRY


@pytest.mark.parametrize(
    "data", [{}, {"chain": {}, "grasp_offset_m": 0.1}, {"chain": None, "grasp_offset_m": None}]
)
def test_what_is_no_geometry_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises(KinematicsError, match="make it again"):
        Geometry.from_dict(data)


def test_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match="unpack"):
        vector([1.0, 2.0])
    with pytest.raises(ValueError, match="expected 3"):
        matrix([[1, 2, 3]])

"""The surroundings of some motions are selected together."""

from __future__ import annotations

import numpy as np

from pipeline.clearance.objects import FAR_M, Objects
from pipeline.obstacles import sphere


def test_objects_and_obstacles_are_selected_together() -> None:
    rows = np.stack([sphere([x, 0.0, 0.0], 0.1) for x in range(3)])[:, None]
    objects = Objects(np.arange(9.0).reshape(3, 3), np.eye(3), rows)
    chosen = objects.of(np.array([2, 0, 2]))
    np.testing.assert_array_equal(chosen.position[:, 0], [6.0, 0.0, 6.0])
    np.testing.assert_array_equal(chosen.axis, np.eye(3)[[2, 0, 2]])
    assert chosen.obstacles is not None
    np.testing.assert_array_equal(chosen.obstacles[:, 0, 0], [2.0, 0.0, 2.0])
    assert Objects(objects.position, objects.axis).of(np.array([1])).obstacles is None


def test_unknown_objects_are_far_away_and_keep_their_obstacles() -> None:
    rows = sphere([0.4, 0.0, 0.0], 0.1)[None, None]
    unknown = Objects.unknown(1, rows)
    assert (unknown.position >= FAR_M).all()
    np.testing.assert_array_equal(unknown.axis, [[0.0, 0.0, 1.0]])
    assert unknown.obstacles is rows

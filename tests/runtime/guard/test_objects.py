from __future__ import annotations

import numpy as np

from pipeline.runtime.guard.objects import FAR_M, Objects


def test_motions_keep_their_objects_and_obstacles() -> None:
    position, axis = np.arange(6.0).reshape(2, 3), np.eye(3)[:2]
    obstacles = np.arange(48.0).reshape(2, 2, 12)
    chosen = Objects(position, axis, obstacles).of(np.array([1, 0, 1]))
    assert chosen.position.tolist() == position[[1, 0, 1]].tolist()
    assert chosen.axis.tolist() == axis[[1, 0, 1]].tolist()
    assert chosen.obstacles is not None
    assert chosen.obstacles.tolist() == obstacles[[1, 0, 1]].tolist()
    assert Objects(position, axis).of(np.array([1])).obstacles is None


def test_an_unknown_object_is_too_far_away_to_matter() -> None:
    unknown = Objects.unknown(2, np.zeros((2, 1, 12)))
    assert (unknown.position == FAR_M).all()
    assert np.linalg.norm(unknown.axis, axis=1).tolist() == [1.0, 1.0]
    assert unknown.obstacles is not None and len(unknown.obstacles) == 2

"""Collision shapes as an artefact carries them."""

from __future__ import annotations

import pytest

from pipeline.collision_geometry import CollisionGeometry, CollisionGeometryError, Shape


@pytest.mark.parametrize(
    ("change", "what"),
    [({"pairs": [[0, 7]]}, "shape"), ({"shapes": [{}]}, "KeyError"), ({"object": 9}, "shape 9")],
)
def test_a_broken_geometry_is_refused(change: dict[str, object], what: str) -> None:
    eye = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    shape = Shape("a", 0, eye, (0.0, 0.0, 0.0), (0.1, 0.1, 0.1), 0.0, 0.0)
    data = CollisionGeometry((shape,), (), None).to_dict()
    with pytest.raises(CollisionGeometryError, match=what):
        CollisionGeometry.from_dict({**data, **change})

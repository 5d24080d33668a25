"""A motion is interpolated, and its contacts belong to the step before their sample."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.play.motion import Motion


def test_it_is_interpolated_and_held_at_its_ends() -> None:
    motion = Motion(np.array([0.0, 1.0, 2.0]), np.array([[0.0, 1], [1, 1], [3, 0]]), None)
    assert motion.at(0.5) == pytest.approx([0.5, 1])
    assert motion.at(1.5) == pytest.approx([2, 0.5])
    assert motion.at(9.0) == pytest.approx([3, 0])
    assert motion.touching_at(1.0) == ()


def test_a_contact_is_shown_during_its_step() -> None:
    touching = [(), (), ("link_5", "table")]
    motion = Motion(np.array([0.0, 1.0, 2.0]), np.zeros((3, 2)), None, touching)
    assert motion.touching_at(1.0) == ()
    assert motion.touching_at(1.2) == motion.touching_at(2.0) == ("link_5", "table")
    assert motion.touching_at(5.0) == ("link_5", "table")

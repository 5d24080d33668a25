"""What a recording says cannot be changed on its way to judgement."""

from dataclasses import FrozenInstanceError

import pytest


def test_candidates_and_their_parts_are_frozen(candidate):
    one = candidate()
    with pytest.raises(FrozenInstanceError):
        one.plan = None
    with pytest.raises(FrozenInstanceError):
        one.plan.segments[0].t = None
    assert "joint_pos" not in repr(one)  # arrays would drown a log

"""Without an arm everything that needs one is off."""

from __future__ import annotations

from pipeline.params import Params
from pipeline.training.generic import NOTICE, without_arm


def test_what_needs_an_arm_is_off(params: Params) -> None:
    made = without_arm(params)
    assert made.policy.inputs == () and not made.policy.object_in_tcp
    assert (made.policy.actions, made.policy.max_obstacles) == ("absolute", 0)
    assert made.train.noise_probability == 0 and made.train.rollout_every == 0
    assert made.train.select == "val_loss"
    assert made.policy.network == params.policy.network and made.robot == params.robot
    assert "\n" not in NOTICE

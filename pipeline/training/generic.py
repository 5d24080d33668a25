"""Parameters of a training without an arm: Diffusion Policy as published."""

from __future__ import annotations

from pipeline.params import Params

NOTICE = (
    "Layout generic: states and actions are plain vectors and no arm is known. Actions are "
    "absolute, states are not perturbed, the validation loss chooses the checkpoint, and there is "
    "no guard."
)
"""What a user is told."""


def without_arm(params: Params) -> Params:
    """Switch off what needs an arm: features, relative actions, perturbation and rollouts.

    Args:
        params: sections policy and train.
    """
    policy = params.override(
        "policy", inputs=(), object_in_tcp=False, max_obstacles=0, actions="absolute"
    )
    return policy.override("train", noise_probability=0.0, select="val_loss", rollout_every=0)

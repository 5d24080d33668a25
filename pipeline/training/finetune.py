"""Start a training from an earlier checkpoint, or refuse it and name what differs."""

from __future__ import annotations

from pathlib import Path

import torch

from pipeline.errors import PipelineError
from pipeline.policy.checkpoint import Checkpoint, load_checkpoint
from pipeline.policy.model import PolicyModel

FREE = {"num_inference_steps", "clip"}
"""Keys of section policy that only sampling reads: training gives the same weights."""


class FinetuneError(PipelineError):
    """A checkpoint does not fit the policy that is to be trained."""


def load_initial(path: Path, model: PolicyModel) -> Checkpoint:
    """Put the averaged weights and the ranges of a checkpoint into a policy.

    Args:
        path: a checkpoint of stage train.
        model: the policy that is to be trained.

    Returns:
        The checkpoint.

    Raises:
        CheckpointError: the file is missing or no checkpoint of this pipeline.
        LayoutError: it was trained for another layout.
        FinetuneError: section policy, arm or object differ; the keys and values are named.
    """
    checkpoint = load_checkpoint(path)
    checkpoint.layout.require(model.layout, str(path), "the data set")
    theirs, ours = checkpoint.params.model_dump(), model.params.model_dump()
    different = [
        f"{key} is {theirs[key]} there and {ours[key]} here"
        for key in ours
        if key not in FREE and theirs[key] != ours[key]
    ]
    if different:
        raise FinetuneError(
            f"{path}: cannot be trained on (train.init_from): policy."
            f"{', policy.'.join(different)}; expected the same network: change section policy, or "
            "train from the beginning"
        )
    if checkpoint.geometry != model.geometry:
        raise FinetuneError(
            f"{path}: was trained for another arm, tool or object length (train.init_from); "
            "expected the ones of sections robot and task: train from the beginning"
        )
    model.load_state_dict(checkpoint.ema)
    return checkpoint


@torch.no_grad()
def exceeding(model: PolicyModel, fitted: PolicyModel) -> float:
    """Compare the reach of new actions with the range that a policy can express.

    Args:
        model: with the ranges that stay.
        fitted: the same policy with the ranges of the new data.

    Returns:
        The largest ratio over horizon steps and joints; 1 or less where everything fits. Joints
        that never moved in the old data count as soon as they move.
    """
    old, new = model.codec.scale, fitted.codec.scale
    reach = torch.maximum(
        (new.center + new.radius - old.center).abs(), (new.center - new.radius - old.center).abs()
    )
    moved = reach > 0
    ratio = torch.where(moved, reach / old.radius, torch.zeros_like(reach))
    return float(ratio.max())

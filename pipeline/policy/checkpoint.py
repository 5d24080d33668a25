"""Write and read checkpoints; refuse other files.

A checkpoint holds everything that running a policy needs: weights, averaged weights, configuration,
statistics of the data, layout of states and actions, and a few held-out observations.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from pipeline.collision_geometry import CollisionGeometry
from pipeline.errors import PipelineError
from pipeline.kinematics import Geometry, KinematicsError
from pipeline.layout import Layout
from pipeline.params import PolicyParams
from pipeline.policy.model import PolicyModel

KEYS = ("model", "ema", "config", "stats", "layout", "examples")


class CheckpointError(PipelineError):
    """A file is not a checkpoint of this pipeline, or does not fit the request."""


@dataclass(frozen=True)
class Checkpoint:
    """A trained policy."""

    model: dict[str, Tensor]
    """Weights and ranges after the last optimiser step."""
    ema: dict[str, Tensor]
    """The same, with weights averaged over training. Policies run with these."""
    config: dict[str, Any]
    """Dimensions, control rate, section policy of params.yaml."""
    stats: dict[str, Any]
    """Statistics of the training split, as the data set carries them."""
    layout: Layout
    examples: Tensor
    """Observations of held-out episodes, shape (B, T, S): an export is checked on them."""

    @property
    def params(self) -> PolicyParams:
        """Section policy that the checkpoint was trained with."""
        # Checkpoints from before policies could see obstacles do not name their number.
        return PolicyParams.parse({"max_obstacles": 0, **self.config["policy"]})

    @property
    def geometry(self) -> Geometry | None:
        """Arm and object as the policy knows them; None where the layout is generic.

        Raises:
            KinematicsError: the checkpoint's config has none.
        """
        if self.layout.is_generic:
            return None
        return Geometry.from_dict(self.config.get("geometry", {}))

    def build(self) -> PolicyModel:
        """The policy with its averaged weights, on the CPU, in evaluation mode.

        Raises:
            CheckpointError: weights and configuration do not fit.
        """
        with torch.random.fork_rng(devices=[]):
            model = PolicyModel(self.params, self.layout, self.geometry)
        try:
            model.load_state_dict(self.ema)
        except RuntimeError as error:
            raise CheckpointError(
                f"the checkpoint's weights and config disagree: {error}"
            ) from error
        return model.eval().requires_grad_(False)


def make_config(
    params: PolicyParams,
    layout: Layout,
    geometry: Geometry | None,
    rate_hz: float | None,
    collision: CollisionGeometry | None = None,
) -> dict[str, Any]:
    """The checkpoint's `config`.

    Args:
        params: section policy.
        layout: of the training data.
        geometry: of arm and object; None for a generic layout.
        rate_hz: control rate of the training data, Hz; None where the data set does not say.
        collision: shapes of arm, scene and object; None if they cannot be built.
    """
    return {
        "state_dim": layout.state_dim,
        "action_dim": layout.action_dim,
        "horizon": params.horizon,
        "n_obs_steps": params.n_obs_steps,
        "network": params.network,
        "rate_hz": rate_hz,
        "policy": params.model_dump(mode="json"),
        "geometry": None if geometry is None else geometry.to_dict(),
        "collision": None if collision is None else collision.to_dict(),
    }


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint beside its place, then rename.

    Args:
        path: the file.
        checkpoint: what to write.

    Raises:
        CheckpointError: it cannot be written, for instance because the disk is full.
    """
    content = {
        "model": checkpoint.model,
        "ema": checkpoint.ema,
        "config": checkpoint.config,
        "stats": checkpoint.stats,
        "layout": checkpoint.layout.to_dict(),
        "examples": checkpoint.examples,
    }
    write_whole(path, content)


def write_whole(path: Path, content: Any) -> None:
    """Write a file of tensors beside its place, flush it to the disk, then rename.

    If the process is killed meanwhile, the file is either the old one or the new one.

    Args:
        path: the file.
        content: what `torch.save` takes.

    Raises:
        CheckpointError: it cannot be written; the earlier file is untouched.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        _sync_folder(path.parent)
    except (OSError, RuntimeError) as error:  # torch turns the disk's errors into its own
        partial.unlink(missing_ok=True)
        raise CheckpointError(
            f"{path}: cannot be written ({_disk_error(error)}); the earlier file is unchanged. "
            "Free some space, or name another folder"
        ) from error


def _disk_error(error: BaseException) -> BaseException:
    """The file system's error, where torch raised another one on top of it."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__ or cause.__context__
    return cause or error


def _sync_folder(folder: Path) -> None:
    """Flush a rename, which a power cut may otherwise undo."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint without executing anything in it.

    Args:
        path: the file.

    Raises:
        CheckpointError: the file is missing, is not a checkpoint, or has no layout.
        LayoutError: its layout is broken.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; expected a checkpoint such as best_model.pt")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the error below says more than torch's warning
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # other bytes raise errors of many kinds
        reason = str(error).splitlines()[0] if str(error) else repr(error)
        raise CheckpointError(
            f"{path}: not a checkpoint that can be read safely ({reason}); "
            "expected one that `python -m pipeline train` wrote"
        ) from error
    _require_keys(path, content)
    checkpoint = Checkpoint(
        content["model"],
        content["ema"],
        content["config"],
        content["stats"],
        Layout.from_dict(content["layout"]),
        content["examples"],
    )
    try:
        _ = checkpoint.params, checkpoint.geometry
    except (ValidationError, KeyError, TypeError, KinematicsError) as error:
        raise CheckpointError(
            f"{path}: its config does not fit this version of the pipeline ({error}); train again"
        ) from error
    return checkpoint


def _require_keys(path: Path, content: object) -> None:
    if not isinstance(content, Mapping):
        raise CheckpointError(
            f"{path}: holds {type(content).__name__}, expected a checkpoint with {', '.join(KEYS)}"
        )
    missing = [key for key in KEYS if key not in content]
    if not missing:
        return
    if {"model", "ema", "config"} <= set(content) and "layout" in missing:
        raise CheckpointError(
            f"{path}: a checkpoint of the earlier scripts (model, ema, config, no layout and no "
            "normalisation). It does not say what its numbers mean and its network was trained on "
            "raw units, so it cannot be run here; train again with `python -m pipeline train "
            "--data-path <its zarr>`"
        )
    raise CheckpointError(
        f"{path}: lacks {', '.join(missing)}; expected a checkpoint of this pipeline, found "
        f"{', '.join(map(str, content)) or 'nothing'}"
    )

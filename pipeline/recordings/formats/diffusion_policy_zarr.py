"""Reads demonstrations that were made into training data before: zarr of Diffusion Policy.

data/state and data/action in the layout of params.yaml, meta/episode_ends. Judges nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.dataset.store import open_group, read_array
from pipeline.dataset.windows import episode_starts
from pipeline.errors import PipelineError
from pipeline.layout import Layout
from pipeline.recordings.recording import (
    Candidate,
    Execution,
    ObjectPose,
    Plan,
    RecordingError,
    Segment,
)

Array = NDArray[np.float64]

# float32 of a few radians is exact to this.
_SAME_RAD = 1e-5


class ReplayError(RecordingError):
    """A zarr cannot be read as demonstrations."""


def is_zarr(path: Path) -> bool:
    """Whether a folder is a zarr group."""
    return any((path / name).is_file() for name in (".zgroup", "zarr.json"))


def read_replay(
    path: Path, layout: Layout, frame_rate_hz: float | None, frame_id: str
) -> Iterator[Candidate]:
    """Episodes of a zarr as plans with their executions, in order.

    The zarr says no times: they come from its rate. An action is the command of the next step, or
    of the same where it repeats the state.

    Args:
        path: the zarr folder.
        layout: what its numbers mean where it does not say.
        frame_rate_hz: steps in a second where it does not say, Hz.
        frame_id: frame in which the object's pose is meant.

    Raises:
        ReplayError: the zarr is damaged, has other shapes than the layout, or no rate is known.
    """
    try:
        group = open_group(path)
        attributes: dict[str, Any] = dict(group.attrs)
        if "layout" in attributes:
            layout = Layout.from_dict(attributes["layout"])
        state = read_array(group, "data/state", path).astype(np.float64)
        action = read_array(group, "data/action", path).astype(np.float64)
        ends = read_array(group, "meta/episode_ends", path).astype(np.int64)
        rate = attributes.get("rate_hz") or frame_rate_hz
        starts = episode_starts(ends)
    except RecordingError:
        raise
    except (PipelineError, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ReplayError(f"{path}: not readable as demonstrations ({error})") from error
    rows = int(ends[-1]) if len(ends) else 0
    for name, array, width in (
        ("data/state", state, layout.state_dim), ("data/action", action, layout.action_dim),
    ):  # fmt: skip
        if array.shape != (rows, width):
            raise ReplayError(
                f"{path}: {name} has shape {array.shape}, expected ({rows}, {width}): "
                f"{layout.describe()}; correct task.state_fields in params.yaml"
            )
    if not isinstance(rate, int | float) or not 0 < rate < np.inf:
        raise ReplayError(
            f"{path}: says no rate ({rate!r}), and times are not invented; set "
            "ingest.frame_rate_hz to the steps in a second"
        )
    for index, (start, end) in enumerate(zip(starts, ends, strict=True)):
        steps = slice(int(start), int(end))
        yield _candidate(index, state[steps], action[steps], layout, rate, frame_id)


def _candidate(
    index: int, state: Array, action: Array, layout: Layout, rate: float, frame_id: str
) -> Candidate:
    velocity = unpack_part(layout, state, "joint_vel") if layout.has("joint_vel") else None
    pose = object_of(layout, state, frame_id)
    t = np.arange(len(state)) / rate
    derived = ("times from the frame rate",)
    position = unpack_part(layout, state, "joint_pos")
    return steps_candidate(index, layout.joints, t, position, velocity, action, pose, derived)


def steps_candidate(
    index: int,
    joint_names: tuple[str, ...],
    t: Array,
    joint_pos: Array,
    joint_vel: Array | None,
    action: Array,
    pose: ObjectPose | None,
    derived: tuple[str, ...],
) -> Candidate:
    """Steps of training data as a plan, and as its execution where the two differ.

    Args:
        index: number of the episode.
        joint_names: names of the J joints.
        t: s. Shape (T,).
        joint_pos: rad. Shape (T, J).
        joint_vel: rad/s, shape (T, J), or None.
        action: commanded positions, rad, of the next step, or of the same. Shape (T, J).
        pose: of the object.
        derived: what was computed instead of read.
    """
    t = t - t[:1]
    same = bool(np.abs(action - joint_pos).max(initial=0.0) <= _SAME_RAD)
    # The command of the first step is nowhere written: the arm rests there.
    command = joint_pos if same else np.concatenate([joint_pos[:1], action[:-1]])
    if np.abs(command - joint_pos).max(initial=0.0) <= _SAME_RAD:
        plan = Plan("", index, 0, (Segment(joint_names, t, joint_pos, joint_vel),), sampled=True)
        return Candidate(plan, pose, None, derived)
    plan = Plan("", index, 0, (Segment(joint_names, t, command, None),), sampled=True)
    speed = np.full_like(joint_pos, np.nan) if joint_vel is None else joint_vel
    return Candidate(plan, pose, Execution(t, joint_pos, speed, joint_pos[-1]), derived)


def unpack_part(layout: Layout, state: Array, kind: str) -> Array:
    """One field of states, in double precision.

    Args:
        layout: what the numbers of a state mean.
        state: shape (..., state_dim).
        kind: name of the field.
    """
    return np.asarray(layout.unpack(state, kind), np.float64)


def object_of(layout: Layout, state: Array, frame_id: str) -> ObjectPose | None:
    """The object's pose at the first of some states, None where states do not tell.

    Args:
        layout: what the numbers of a state mean.
        state: shape (T, state_dim).
        frame_id: frame in which the pose is meant.
    """
    if not len(state) or not (layout.has("object_pos") and layout.has("object_axis")):
        return None
    position, axis = (unpack_part(layout, state[0], kind) for kind in ("object_pos", "object_axis"))
    return ObjectPose(0, frame_id, position, axis)

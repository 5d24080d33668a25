"""Reads the training data of Diffusion Policy (zarr) as demonstrations.

The arrays are data/state and data/action in the layout of params.yaml, and meta/episode_ends. A
zarr of the stage dataset may also hold obstacles.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.dataset.obstacle_arrays import read_obstacles
from pipeline.dataset.windows import episode_starts
from pipeline.dataset.zarr_arrays import open_group, read_array
from pipeline.errors import PipelineError
from pipeline.layout import Layout
from pipeline.recordings.recording import (
    Candidate,
    Execution,
    ObjectPose,
    Obstacles,
    Plan,
    RecordingError,
    Segment,
)

Array = NDArray[np.float64]

# Rounding of a few radians to float32 is smaller than this.
_SAME_RAD = 1e-5


class ZarrRecordingError(RecordingError):
    """A zarr cannot be read as demonstrations."""


def is_zarr(path: Path) -> bool:
    """Whether a folder is a zarr group."""
    return any((path / name).is_file() for name in (".zgroup", "zarr.json"))


def read_zarr(
    path: Path, layout: Layout, frame_rate_hz: float | None, frame_id: str
) -> Iterator[Candidate]:
    """Read the episodes of a zarr as plans with their executions, in order.

    Times come from the rate, because a zarr holds none. An action is the command of the next step,
    or of the same step if all actions repeat their states.

    Args:
        path: the zarr folder.
        layout: what its numbers mean if it has no layout of its own.
        frame_rate_hz: its rate if it has none of its own, Hz.
        frame_id: frame of the object's pose.

    Raises:
        ZarrRecordingError: the zarr is damaged, does not fit the layout, or has no known rate.
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
        obstacles, obstacle_ends = read_obstacles(group, len(ends), path)
    except RecordingError:
        raise
    except (PipelineError, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ZarrRecordingError(f"{path}: not readable as demonstrations ({error})") from error
    rows = int(ends[-1]) if len(ends) else 0
    for name, array, width in (
        ("data/state", state, layout.state_dim), ("data/action", action, layout.action_dim),
    ):  # fmt: skip
        if array.shape != (rows, width):
            raise ZarrRecordingError(
                f"{path}: {name} has shape {array.shape}, expected ({rows}, {width}): "
                f"{layout.describe()}; correct task.state_fields in params.yaml"
            )
    if not isinstance(rate, int | float) or not 0 < rate < np.inf:
        raise ZarrRecordingError(
            f"{path}: has no rate ({rate!r}), so its times are unknown; set "
            "ingest.frame_rate_hz to its steps per second"
        )
    around = np.split(obstacles.astype(np.float64), obstacle_ends[:-1])
    for index, (start, end) in enumerate(zip(starts, ends, strict=True)):
        steps = slice(int(start), int(end))
        found = _candidate(index, state[steps], action[steps], layout, rate, frame_id)
        yield replace(found, obstacles=Obstacles(0, around[index]))


def _candidate(
    index: int, state: Array, action: Array, layout: Layout, rate: float, frame_id: str
) -> Candidate:
    velocity = unpack_field(layout, state, "joint_vel") if layout.has("joint_vel") else None
    pose = object_pose_of(layout, state, frame_id)
    t = np.arange(len(state)) / rate
    derived = ("times from the frame rate",)
    position = unpack_field(layout, state, "joint_pos")
    return candidate_from_steps(index, layout.joints, t, position, velocity, action, pose, derived)


def candidate_from_steps(
    index: int,
    joint_names: tuple[str, ...],
    t: Array,
    joint_pos: Array,
    joint_vel: Array | None,
    action: Array,
    pose: ObjectPose | None,
    derived: tuple[str, ...],
) -> Candidate:
    """The steps of an episode as a plan and, if states and commands differ, as its execution.

    Args:
        index: number of the episode.
        joint_names: names of the J joints.
        t: s. Shape (T,).
        joint_pos: rad. Shape (T, J).
        joint_vel: rad/s, shape (T, J), or None.
        action: commanded positions, rad, of the next step, or of the same. Shape (T, J).
        pose: pose of the object.
        derived: what was computed instead of read.
    """
    t = t - t[:1]
    same = bool(np.abs(action - joint_pos).max(initial=0.0) <= _SAME_RAD)
    # The data hold no command for the first step; there the arm is taken to rest.
    command = joint_pos if same else np.concatenate([joint_pos[:1], action[:-1]])
    if np.abs(command - joint_pos).max(initial=0.0) <= _SAME_RAD:
        plan = Plan("", index, 0, (Segment(joint_names, t, joint_pos, joint_vel),), sampled=True)
        return Candidate(plan, pose, None, derived)
    plan = Plan("", index, 0, (Segment(joint_names, t, command, None),), sampled=True)
    speed = np.full_like(joint_pos, np.nan) if joint_vel is None else joint_vel
    execution = Execution(t, joint_pos, speed, joint_pos[-1])
    return Candidate(plan, pose, execution, derived, keeps_states=True)


def unpack_field(layout: Layout, state: Array, kind: str) -> Array:
    """Unpack one field of states in double precision.

    Args:
        layout: what the numbers of a state mean.
        state: shape (..., state_dim).
        kind: name of the field.
    """
    return np.asarray(layout.unpack(state, kind), np.float64)


def object_pose_of(layout: Layout, state: Array, frame_id: str) -> ObjectPose | None:
    """The object's pose in the first of some states; None if states do not hold it.

    Args:
        layout: what the numbers of a state mean.
        state: shape (T, state_dim).
        frame_id: frame of the pose.
    """
    if not len(state) or not (layout.has("object_pos") and layout.has("object_axis")):
        return None
    position, axis = (
        unpack_field(layout, state[0], kind) for kind in ("object_pos", "object_axis")
    )
    return ObjectPose(0, frame_id, position, axis)

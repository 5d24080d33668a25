"""Reads trajectory files `traj_*.npz`. Never unpickles anything.

Arrays: joint_positions (T, J) rad, timestamps (T,) s, <object>_position (3,) m, <object>_axis (3,),
and optionally joint_velocities (T, J) rad/s and obstacles (M, 12), rows of `pipeline.obstacles`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.obstacles import ObstacleError, parse
from pipeline.recordings.recording import (
    Candidate,
    ObjectPose,
    Obstacles,
    Plan,
    RecordingError,
    Segment,
)

Array = NDArray[np.float64]


class NpzError(RecordingError):
    """A trajectory file cannot be read."""

    def __init__(self, message: str) -> None:
        """Create the error.

        Args:
            message: file, value, what was expected, what to do.
        """
        super().__init__(message, "NPZ_UNREADABLE")


def read_npz(path: Path, joints: tuple[str, ...], object_name: str, frame_id: str) -> Candidate:
    """Read a trajectory. The file names neither joints nor frames, so those of the arm are used.

    Args:
        path: the file.
        joints: names for the J columns.
        object_name: prefix of the object's arrays, for instance "pen".
        frame_id: frame of the object's pose.

    Raises:
        NpzError: the file is missing or damaged, or an array is missing, holds objects or has a
            wrong shape.
    """
    names = {
        "t": "timestamps",
        "joint_pos": "joint_positions",
        "position": f"{object_name}_position",
        "axis": f"{object_name}_axis",
    }
    try:
        with path.open("rb") as stream:
            file = np.load(stream, allow_pickle=False)
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise NpzError(f"{path}: is a single array, expected an .npz of named arrays")
            missing = [name for name in names.values() if name not in file]
            if missing:
                raise NpzError(
                    f"{path}: lacks {', '.join(missing)}; it holds {', '.join(file.files)}"
                )
            arrays = {key: np.asarray(file[name], np.float64) for key, name in names.items()}
            obstacles = None
            if "obstacles" in file:
                obstacles = Obstacles(0, parse(np.asarray(file["obstacles"], np.float64)))
            velocity = None
            if "joint_velocities" in file:
                velocity = np.asarray(file["joint_velocities"], np.float64)
    except NpzError:
        raise
    except ObstacleError as error:
        raise NpzError(f"{path}: {error}") from error
    except Exception as error:  # numpy raises errors of zip, zlib and its own
        raise NpzError(f"{path}: not readable as .npz of numbers ({error})") from error
    steps = arrays["t"].shape[0] if arrays["t"].ndim == 1 else -1
    for key, shape in {
        "t": (steps,),
        "joint_pos": (steps, len(joints)),
        "position": (3,),
        "axis": (3,),
    }.items():
        if arrays[key].shape != shape or steps < 0:
            raise NpzError(f"{path}: {names[key]} has shape {arrays[key].shape}, expected {shape}")
    if velocity is not None and velocity.shape != arrays["joint_pos"].shape:
        velocity = None
    segment = Segment(joints, arrays["t"], arrays["joint_pos"], velocity)
    plan = Plan("", 0, 0, (segment,))
    pose = ObjectPose(0, frame_id, arrays["position"], arrays["axis"])
    return Candidate(plan, pose, None, obstacles=obstacles)

"""Finds the demonstration whose object lies nearest to a given one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from pipeline.dataset.store import load_dataset
from pipeline.evaluation.failures import Demonstrations
from pipeline.evaluation.metrics import object_key
from pipeline.layout import Layout
from pipeline.params import Params
from pipeline.robot.model import RobotModel

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Nearest:
    """One demonstration."""

    episode: int
    """Index in the data set."""
    offset_mm: float
    """Distance between the objects' centres, mm."""
    angle_deg: float
    """Angle between the objects' axes, degrees."""
    path: Array
    """TCP positions, m, base frame. Shape (K, 3)."""


class NearestDemonstration:
    """Searches the training episodes of a data set."""

    def __init__(self, demonstrations: Demonstrations, length_m: float, model: RobotModel) -> None:
        """Index the demonstrations.

        Args:
            demonstrations: training episodes.
            length_m: length of the object, m.
            model: the arm.
        """
        self._known, self._length, self._model = demonstrations, length_m, model
        self._tree = cKDTree(
            object_key(demonstrations.object_pos, demonstrations.object_axis, length_m)
        )

    @classmethod
    def from_file(
        cls, path: Path, params: Params, model: RobotModel
    ) -> NearestDemonstration | None:
        """Read a training zarr; None if there is none.

        Args:
            path: the zarr.
            params: sections task and dataset.
            model: the arm.

        Raises:
            PipelineError: the data set is damaged or has another layout.
        """
        if not path.exists():
            return None
        dataset = load_dataset(path, Layout.from_params(params), params.dataset)
        known = Demonstrations.from_dataset(dataset)
        return cls(known, params.task.object_length_m, model) if len(known.episodes) else None

    def find(self, position: Array, axis: Array) -> Nearest:
        """Find the demonstration nearest to an object.

        Args:
            position: centre, m, base frame. Shape (3,).
            axis: unit axis. Shape (3,).
        """
        known = self._known
        index = int(self._tree.query(object_key(position, axis, self._length))[1])
        cosine = float(np.clip(known.object_axis[index] @ axis, -1.0, 1.0))
        return Nearest(
            int(known.episodes[index]),
            float(np.linalg.norm(known.object_pos[index] - position)) * 1e3,
            float(np.degrees(np.arccos(cosine))),
            self._model.fk(known.joint_pos[known.owner == index])[:, :3],
        )

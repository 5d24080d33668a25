"""Finds the places where motions come close to something, also between their rows.

A cheap bound at the rows shows which steps and pairs can be close at all; only these are sampled
densely and measured. Uses NumPy only. N motions, K steps, R = K + 1 rows (the first one is the
present position), J joints, P pairs, S samples, M combinations of a sample and a pair.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.clearance.model import ClearanceModel, Clearances
from pipeline.clearance.objects import Objects

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Near:
    """Samples of motions, and the pairs that may be close at each sample."""

    motion: Indices
    """Motion of each sample. (S,)."""
    step: Indices
    """Row that precedes each sample. (S,)."""
    share: Array
    """Position of each sample between that row and the next one, 0 to 1. (S,)."""
    sample: Indices
    """Sample of each combination. (M,)."""
    pair: Indices
    """Pair of each combination. (M,)."""

    def only(self, combinations: Mask) -> Near:
        """Keep only some combinations, and drop samples that are no longer used.

        Args:
            combinations: whether to keep each combination. Shape (M,).
        """
        used, sample = np.unique(self.sample[combinations], return_inverse=True)
        return Near(
            self.motion[used], self.step[used], self.share[used],
            sample.reshape(-1), self.pair[combinations],
        )  # fmt: skip


class Sweep:
    """Samples motions of one arm and measures their clearances."""

    def __init__(self, model: ClearanceModel, spacing_m: float) -> None:
        """Store the model and the spacing.

        Args:
            model: computes distances.
            spacing_m: largest travel of any point of the arm between two samples, m.
        """
        self.model, self._spacing = model, spacing_m

    def near(self, motions: Array, objects: Objects, within_m: Array) -> Near:
        """Sample all steps in which a pair may come closer than a distance.

        Args:
            motions: joint positions, rad. Shape (N, R, J).
            objects: object of each motion.
            within_m: distance for each pair, m. Shape (P,).
        """
        number, rows, joints = motions.shape
        motion = np.repeat(np.arange(number), rows)
        bounds = self.model.bounds(motions.reshape(-1, joints), objects.of(motion))
        bounds = bounds.reshape(number, rows, -1)
        way = np.abs(np.diff(motions, axis=1)) @ self.model.reach
        # A point that travels at most `way` in a step cannot come closer than this.
        least = (bounds[:, :-1] + bounds[:, 1:] - way[..., None]) / 2
        close = least < within_m
        steps = close.any(axis=2)
        if not steps.any():
            none = np.zeros(0, dtype=np.int64)
            return Near(none, none, np.zeros(0), none, none)
        # The first step is also sampled at its start, which gives the present distance.
        first = np.zeros(steps.shape, dtype=np.int64)
        first[:, 0] = 1
        parts = np.maximum(np.ceil(way / self._spacing), 1).astype(np.int64)
        counts = np.where(steps, parts + first, 0)
        ends = np.cumsum(counts).reshape(counts.shape)
        at_motion, at_step = np.nonzero(steps)
        of_step = np.repeat(np.arange(len(at_motion)), counts[steps])
        inside = np.arange(len(of_step)) - np.repeat(ends[steps] - counts[steps], counts[steps])
        share = (inside + 1 - first[steps][of_step]) / parts[steps][of_step]
        on, at, pair = np.nonzero(close)
        lengths = counts[on, at]
        combination = np.repeat(np.arange(len(on)), lengths)
        offset = np.arange(len(combination)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        sample = (ends[on, at] - lengths)[combination] + offset
        return Near(at_motion[of_step], at_step[of_step], share, sample, pair[combination])

    def measure(
        self, motions: Array, objects: Objects, near: Near, search: Array | None = None
    ) -> Clearances:
        """Measure the clearances of samples.

        Args:
            motions: joint positions, rad. Shape (N, R, J).
            objects: object of each motion.
            near: samples and pairs to measure.
            search: `Clearances.search` of an earlier measurement of the same samples. Shape (3, M).
        """
        before, after = motions[near.motion, near.step], motions[near.motion, near.step + 1]
        joint_pos = before + near.share[:, None] * (after - before)
        poses = self.model.poses(joint_pos, objects.of(near.motion))
        return self.model.clearances(poses, near.sample, near.pair, search)

"""Where motions come near something: the swept way between their rows, sampled densely.

A cheap bound at the rows says which steps and pairs can be near at all; only these are sampled and
measured. NumPy alone. N motions, K steps, R = K + 1 rows (the first is where the joints are now), J
joints, P pairs, S samples, M combinations of a sample and a pair.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.runtime.guard.clearance import ClearanceModel, Clearances

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Objects:
    """Where the object is, by motion."""

    position: Array
    """Centres, m, base frame. Shape (N, 3)."""
    axis: Array
    """Unit axes. Shape (N, 3)."""

    def of(self, motions: Indices) -> Objects:
        """Those of some motions.

        Args:
            motions: indices, repetition allowed. Shape (N',).
        """
        return Objects(self.position[motions], self.axis[motions])


@dataclass(frozen=True)
class Near:
    """Samples of motions and what they may be near to."""

    motion: Indices
    """Which motion a sample belongs to. (S,)."""
    step: Indices
    """It lies between this row and the next one … (S,)."""
    share: Array
    """… this far along, 0 to 1. (S,)."""
    sample: Indices
    """Of a combination. (M,)."""
    pair: Indices
    """Of a combination. (M,)."""

    def only(self, combinations: Mask) -> Near:
        """Some of the combinations, and the samples that these need.

        Args:
            combinations: which. Shape (M,).
        """
        used, sample = np.unique(self.sample[combinations], return_inverse=True)
        return Near(
            self.motion[used], self.step[used], self.share[used],
            sample.reshape(-1), self.pair[combinations],
        )  # fmt: skip


class Sweep:
    """Finds and measures what motions of one arm come near to."""

    def __init__(self, model: ClearanceModel, spacing_m: float) -> None:
        """Fix the spacing.

        Args:
            model: distances.
            spacing_m: no point of the arm moves further than this between two samples.
        """
        self.model, self._spacing = model, spacing_m

    def near(self, motions: Array, objects: Objects, within_m: Array) -> Near:
        """Samples on all steps in which a pair may come nearer than a distance.

        Args:
            motions: rad. Shape (N, R, J).
            objects: of the motions.
            within_m: by pair, m. Shape (P,).
        """
        number, rows, joints = motions.shape
        motion = np.repeat(np.arange(number), rows)
        poses = self.model.poses(
            motions.reshape(-1, joints), objects.position[motion], objects.axis[motion]
        )
        bounds = self.model.bounds(poses).reshape(number, rows, -1)
        way = np.abs(np.diff(motions, axis=1)) @ self.model.reach
        # A point that moves by `way` gets no nearer than this, whichever way it takes.
        least = (bounds[:, :-1] + bounds[:, 1:] - way[..., None]) / 2
        close = least < within_m
        steps = close.any(axis=2)
        # The first step is sampled at its beginning, too: it says how near the arm is now.
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
        """Clearances of samples.

        Args:
            motions: rad. Shape (N, R, J).
            objects: of the motions.
            near: samples and pairs.
            search: of an earlier measurement of the same samples. Shape (3, M).
        """
        before, after = motions[near.motion, near.step], motions[near.motion, near.step + 1]
        joint_pos = before + near.share[:, None] * (after - before)
        poses = self.model.poses(
            joint_pos, objects.position[near.motion], objects.axis[near.motion]
        )
        return self.model.clearances(poses, near.sample, near.pair, search)

"""Computes whole motions ahead, and starts along one that arrives without touching anything.

A policy that knows several ways may take one that an obstacle blocks; the guard then stops the arm,
and there it stays. So whenever the arm stands still short of the grasp, the policy's own motion is
computed to its end, as if the servo were perfect. Where it does not arrive, motions from other
noise are computed, and the shortest one that arrives is taken. Uses NumPy only.

B motions, C candidates of each, T history steps, S numbers of an observation, H horizon, J joints.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.clearance.model import ClearanceModel
from pipeline.clearance.objects import FAR_M, Objects
from pipeline.clearance.sweep import Sweep
from pipeline.collision_geometry import CollisionGeometry
from pipeline.kinematics import ForwardKinematics, Geometry, JointLimits
from pipeline.layout import Layout
from pipeline.runtime.deployment import Execution
from pipeline.runtime.guard.carried import other_noise

if TYPE_CHECKING:
    from pipeline.params import ExecutionParams

Array = NDArray[np.float64]
Float32 = NDArray[np.float32]
Indices = NDArray[np.int64]
Mask = NDArray[np.bool_]
Predict = Callable[[Float32, Float32], NDArray[np.floating]]
"""Maps observations (B, T, S) and noise (B, H, J) to joint positions (B, H, J), rad."""
STILL_RAD = 0.001
"""An arm stands still if no joint moves further in a policy step, rad."""
REACHED_M, REACHED_DEG = 0.01, 10.0
"""Errors at which the TCP is at the grasp."""
NOISY_CHUNKS = 4
"""Chunks that start from the chosen noise; by then the way is chosen, and the rest is exact."""
MOST_CHUNKS = 30
"""Longest motion, in chunks."""
SPACING_M = 0.02
"""Largest travel of any point of the arm between two checks, m; what is sent is checked by the
guard, far more densely."""
ROUNDING_M = 1e-4


class Rehearsal:
    """Chooses the noise with which the motions of N robots start."""

    def __init__(
        self,
        settings: Execution | ExecutionParams,
        geometry: Geometry,
        shapes: CollisionGeometry,
        limits: JointLimits,
        layout: Layout,
        horizon: int,
        rate_hz: float,
    ) -> None:
        """Store what motions are computed with.

        Args:
            settings: the section `execution`.
            geometry: chain to the TCP, and where the object is grasped.
            shapes: collision shapes and the pairs to check.
            limits: the joint limits.
            layout: the meaning of an observation's numbers.
            horizon: steps of a chunk, H.
            rate_hz: policy steps per second.

        Raises:
            CollisionGeometryError: chain, joints and shapes do not match.
        """
        self._settings, self._layout = settings, layout
        self._horizon, self._rate_hz = horizon, rate_hz
        self._offset_m = geometry.grasp_offset_m
        # The quaternions' signs do not matter here.
        self._fk = ForwardKinematics(geometry.chain, layout.joints, np.zeros(len(layout.joints)))
        self._arm = (geometry.chain, layout.joints, shapes, limits)
        self._sweep = Sweep(ClearanceModel(*self._arm), SPACING_M)
        self.reset(0)

    @staticmethod
    def is_on(settings: Execution | ExecutionParams) -> bool:
        """Whether the settings ask for rehearsals and allow them.

        Args:
            settings: the section `execution`.
        """
        # An ensemble averages the chunks of many steps, which no single motion stands for.
        allowed = settings.guard == "repair" and settings.mode != "ensemble"
        return bool(settings.rehearsals and allowed and settings.noise_scale == 0)

    def reset(self, robots: int) -> None:
        """Forget all motions.

        Args:
            robots: number of robots, N.
        """
        self._noise = np.zeros((robots, self._horizon, len(self._layout.joints)), np.float32)
        self._left = np.zeros(robots, dtype=np.int64)
        self.redirected = np.zeros(robots, dtype=np.int64)
        """Motions of each robot that were started with other noise. Shape (N,)."""

    def noise(
        self,
        predict: Predict,
        obs: Float32,
        objects: Objects,
        robots: Indices,
        seeds: Indices,
        step: int,
    ) -> Float32:
        """Return the noise for the next chunk of some robots; computes motions where due.

        Args:
            predict: the policy.
            obs: what it sees. Shape (B, T, S).
            objects: objects and obstacles of these robots.
            robots: indices of the robots. Shape (B,).
            seeds: seed of each robot's noise. Shape (B,).
            step: control steps since the reset.

        Returns:
            Shape (B, H, J); zero where the policy's own motion arrives, or none does.
        """
        due = np.flatnonzero((self._left[robots] == 0) & self._is_waiting(obs, objects))
        if len(due):
            chosen = self._choose(predict, obs[due], objects.of(due), seeds[due], step)
            self._noise[robots[due]], self._left[robots[due]] = chosen, NOISY_CHUNKS
            self.redirected[robots[due]] += chosen.any(axis=(1, 2))
        going = self._left[robots] > 0
        self._left[robots[going]] -= 1
        return np.where(going[:, None, None], self._noise[robots], np.float32(0))

    def may_be_due(self, obs: Float32) -> bool:
        """Whether the next chunk of the only robot may need motions; they take long.

        Args:
            obs: what the policy has seen so far. Shape (T, S).
        """
        return bool(self._left[0] == 0 and self._is_still(obs[None])[0])

    def _is_still(self, obs: Float32) -> Mask:
        """Whether each arm stands still. (B,)."""
        joint_pos = self._layout.unpack(obs[..., : self._layout.state_dim], "joint_pos")
        change = np.abs(np.diff(joint_pos.astype(np.float64), axis=1))
        return np.asarray(change.max(axis=(1, 2), initial=0.0) <= STILL_RAD)

    def _is_waiting(self, obs: Float32, objects: Objects) -> Mask:
        """Whether each arm stands still short of the grasp of a known object. (B,)."""
        joint_pos = self._layout.unpack(obs[..., : self._layout.state_dim], "joint_pos")
        known = np.abs(objects.position).max(axis=1) < FAR_M / 2
        waiting: Mask = np.asarray(self._is_still(obs) & known)
        still = np.flatnonzero(waiting)
        if len(still):
            waiting[still] = ~self._arrived(joint_pos[still, -1], objects.of(still))
        return waiting

    def _arrived(self, joint_pos: NDArray[np.floating], objects: Objects) -> Mask:
        """Whether the TCP is at the grasp, its z axis opposite to the object's axis. (B,)."""
        pose = self._fk(np.asarray(joint_pos, dtype=np.float64))
        x, y, z, w = pose[:, 3:].T
        ahead = np.stack(
            [2 * (x * z + y * w), 2 * (y * z - x * w), 1 - 2 * (x * x + y * y)], axis=1
        )
        cap = objects.position + self._offset_m * objects.axis
        near = np.linalg.norm(pose[:, :3] - cap, axis=1) <= REACHED_M
        cosine = -(ahead * objects.axis).sum(axis=1)
        return np.asarray(near & (cosine >= np.cos(np.radians(REACHED_DEG))))

    def _choose(
        self, predict: Predict, obs: Float32, objects: Objects, seeds: Indices, step: int
    ) -> Float32:
        """Choose noise for each motion. (B, H, J)."""
        chosen = np.zeros((len(obs), *self._noise.shape[1:]), np.float32)
        arrives, _ = self._compute(predict, obs, objects, chosen)
        left, count = np.flatnonzero(~arrives), self._settings.rehearsals
        if not len(left):
            return chosen
        shape = (count, *chosen.shape[1:])
        noise = [other_noise(self._settings, shape, seed, step) for seed in seeds[left].tolist()]
        owner, drawn = np.repeat(left, count), np.stack(noise)
        flat = drawn.reshape(-1, *chosen.shape[1:])
        arrives, length = self._compute(predict, obs[owner], objects.of(owner), flat)
        cost = np.where(arrives, length, np.inf).reshape(len(left), count)
        rows, best = np.arange(len(left)), cost.argmin(axis=1)
        found = np.isfinite(cost[rows, best])
        chosen[left[found]] = drawn[rows, best][found]
        return chosen

    def _compute(
        self, predict: Predict, obs: Float32, objects: Objects, noise: Float32
    ) -> tuple[Mask, Array]:
        """Follow the policy to rest; which motions arrive freely, and their lengths, rad. (B,)."""
        layout, turn = self._layout, self._settings.execute_steps
        obs, seen = obs.copy(), obs[..., : layout.state_dim]
        steps = obs.shape[1]
        path = np.repeat(layout.unpack(seen[:, -1:], "joint_pos").astype(np.float64),
                         steps + MOST_CHUNKS * turn, axis=1)  # fmt: skip
        path[:, :steps] = layout.unpack(seen, "joint_pos")
        going, end = np.arange(len(obs)), steps
        for chunk in range(MOST_CHUNKS):
            now = noise[going] if chunk < NOISY_CHUNKS else np.zeros_like(noise[going])
            rows = np.asarray(predict(obs[going], now), dtype=np.float64)[:, :turn]
            path[going, end : end + turn], path[going, end + turn :] = rows, rows[:, -1:]
            end += turn
            self._look_back(obs, going, path[going, end - steps - 1 : end])
            ends = path[going, end - 2 : end]
            still = np.abs(np.diff(ends, axis=1)).max(axis=(1, 2)) <= STILL_RAD
            going = going[~still] if chunk >= NOISY_CHUNKS else going
            if not len(going):
                break
        arrives = self._arrived(path[:, -1], objects)
        reach = np.flatnonzero(arrives)
        if len(reach):
            arrives[reach] = self._is_free(path[reach, steps - 1 : end], objects.of(reach))
        return arrives, np.linalg.norm(np.diff(path, axis=1), axis=2).sum(axis=1)

    def _look_back(self, obs: Float32, going: Indices, joint_pos: Array) -> None:
        """Write the latest joints (B', T + 1, J) into the observations of some motions."""
        obs[going, :, self._layout.field("joint_pos").slice] = joint_pos[:, 1:]
        if self._layout.has("joint_vel"):
            speed = np.diff(joint_pos, axis=1) * self._rate_hz
            obs[going, :, self._layout.field("joint_vel").slice] = speed

    def _is_free(self, path: Array, objects: Objects) -> Mask:
        """Whether motions keep the least distance, or the one they start with. (B,)."""
        rows = objects.obstacles
        if rows is not None and rows.shape[1] > self._sweep.model.slots:
            self._sweep = Sweep(ClearanceModel(*self._arm, rows.shape[1]), SPACING_M)
        least = np.full(len(self._sweep.model.pairs), self._settings.guard_least_m)
        near = self._sweep.near(path, objects, least)
        distance = self._sweep.measure(path, objects, near).distance
        motion, first = near.motion[near.sample], (near.step + near.share == 0)[near.sample]
        allowed = np.full(len(path), self._settings.guard_least_m)
        np.minimum.at(allowed, motion[first], distance[first] - ROUNDING_M)
        lowest = np.full(len(path), np.inf)
        np.minimum.at(lowest, motion, distance)
        return np.asarray(lowest >= allowed)


def carried_rehearsal(
    settings: Execution,
    config: Mapping[str, Any],
    layout: Layout,
    limits: JointLimits,
    rate_hz: float,
) -> Rehearsal | None:
    """Build what computes motions ahead from what is stored with a policy.

    Args:
        settings: the section `execution`.
        config: metadata of the checkpoint or the graph.
        layout: the meaning of an observation's numbers.
        limits: the joint limits.
        rate_hz: policy steps per second.

    Returns:
        None if it is off or the policy has no collision shapes.
    """
    if not Rehearsal.is_on(settings) or config.get("collision") is None:
        return None
    geometry = Geometry.from_dict(config["geometry"])
    shapes = CollisionGeometry.from_dict(config["collision"])
    return Rehearsal(settings, geometry, shapes, limits, layout, int(config["horizon"]), rate_hz)

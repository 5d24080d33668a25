"""Keeps joint commands within position, velocity and acceleration limits, for N robots at once.

Uses NumPy only. Each step sees the present target and the one after it. N robots, J joints.
"""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipeline.kinematics import JointLimits

Array = NDArray[np.float64]
KINDS = ("position", "velocity", "acceleration")
ROUNDING_RAD = 1e-9
"""A command that differs from its target by no more than this does not count as clipped, rad."""
FASTEST_RAD_S = 1e6
"""Stands for the speed of a joint without a limit, rad/s: with infinity sums are undefined."""


class Limiter:
    """Follows targets as closely as the limits allow, and can always stop before a position limit.

    Commands x have velocity v = Δx · rate and acceleration Δv · rate; both stay within the limits
    at every step. A motion within the limits passes unchanged. Otherwise the command catches up
    with its target in the fewest possible steps and without overshoot (`approach_speed`).
    """

    def __init__(self, limits: JointLimits, rate_hz: float) -> None:
        """Store the limits.

        Args:
            limits: the joint limits.
            rate_hz: commands per second.
        """
        velocity = np.minimum(limits.velocity, FASTEST_RAD_S)
        # More than from full speed to full speed backwards is never needed.
        acceleration = np.minimum(limits.acceleration, 2 * velocity * rate_hz)
        limits = replace(limits, velocity=velocity, acceleration=acceleration)
        self._limits, self._period = limits, 1.0 / rate_hz
        self._change, self._backward = limits.acceleration * self._period, -limits.velocity
        # Beyond this distance only the speed limit matters. Clipping to it avoids infinities.
        self._far = limits.velocity**2 / limits.acceleration + 2 * limits.velocity * self._period
        self.reset(np.zeros((0, len(limits.lower))))

    def reset(self, position: Array) -> None:
        """Start at rest and set all counts to 0.

        Args:
            position: present joint positions as commanded, rad. Shape (N, J). A joint outside its
                limits is moved back and never further out.
        """
        self._position = position.copy()
        self._velocity = np.zeros_like(position)
        self.clipped = dict.fromkeys(KINDS, 0)
        self.largest_change = 0.0

    def step(self, target: Array, following: Array) -> Array:
        """Compute the next command.

        Args:
            target: target position, rad. Shape (N, J).
            following: target position one step later, rad; it sets the velocity on arrival. Shape
                (N, J).

        Returns:
            Position to command, rad. Shape (N, J).
        """
        inside = self._inside(target)
        asked, velocity = self._move(inside, self._inside(following))
        self._count(target, inside, asked, velocity)
        return self._position.copy()

    def _inside(self, target: Array) -> Array:
        """Targets within the position limits."""
        return clip(target, self._limits.lower, self._limits.upper)

    def _move(self, inside: Array, ahead: Array) -> tuple[Array, Array]:
        """Move on by one step.

        Args:
            inside: present target within the position limits, rad. Shape (N, J).
            ahead: the next one, rad. Shape (N, J).

        Returns:
            Velocity that leads to the present target, and that of the step before rounding, rad/s.
            Shape (N, J) each.
        """
        limits, period, position = self._limits, self._period, self._position
        asked = (inside - position) / period
        # The target moves with velocity `drift`; the lag behind it must shrink to 0.
        drift = clip((ahead - inside) / period, self._backward, limits.velocity)
        lag = inside - drift * period - position
        # The lag, and the room up and down to the limits: one call for all three.
        room = np.empty((3, *lag.shape))
        np.abs(lag, out=room[0])
        np.subtract(limits.upper, position, out=room[1])
        np.subtract(position, limits.lower, out=room[2])
        speed, up, down = approach_speed(clip(room, 0.0, self._far), self._change, period)
        # With a short lag the approach equals the request; rounding must not change it.
        wanted = np.where(speed <= self._change, asked, drift + np.sign(lag) * speed)
        low = np.maximum(self._velocity - self._change, np.maximum(self._backward, -down))
        high = np.minimum(self._velocity + self._change, np.minimum(limits.velocity, up))
        velocity = clip(wanted, low, high)
        exact = np.abs(velocity - asked) * period <= ROUNDING_RAD
        moved = np.where(exact, inside, position + velocity * period)
        # Rounding may move the command past a limit.
        lowest, highest = np.minimum(limits.lower, position), np.maximum(limits.upper, position)
        self._position = clip(moved, lowest, highest)
        self._velocity = (self._position - position) / period
        return asked, velocity

    @property
    def rate_hz(self) -> float:
        """Commands per second."""
        return 1.0 / self._period

    @property
    def position(self) -> Array:
        """The last commanded position, rad. Shape (N, J)."""
        return self._position

    @property
    def velocity(self) -> Array:
        """The velocity of the last command, rad/s. Shape (N, J)."""
        return self._velocity

    def stop_steps(self, velocity: Array) -> int:
        """Number of steps in which every joint comes to rest.

        Args:
            velocity: of the last step, rad/s. Shape (..., J).
        """
        return int(np.ceil(np.max(np.abs(velocity) / self._change, initial=0.0)))

    def braking(self, position: Array, velocity: Array, steps: int) -> Array:
        """Compute the shortest motion to rest. It is within the limits, so it is sent unchanged.

        Args:
            position: rad. Shape (M, J).
            velocity: of the step to this position, rad/s. Shape (M, J).
            steps: length of the result, K.

        Returns:
            Positions, rad. Shape (M, K, J).
        """
        fall = self._change * np.arange(1, steps + 1)[:, None]
        left = np.maximum(np.abs(velocity)[:, None] - fall, 0.0) * np.sign(velocity)[:, None]
        way: Array = position[:, None] + np.cumsum(left, axis=1) * self._period
        return way

    def part(self, robots: NDArray[np.int64]) -> Limiter:
        """Create a limiter for some of the robots, in their present state.

        Args:
            robots: indices of the robots. Shape (M,).
        """
        other = copy.copy(self)
        other.reset(self._position[robots])
        other._velocity = self._velocity[robots].copy()
        return other

    def preview(self, rows: Array, robots: NDArray[np.int64]) -> Array:
        """Compute the commands for a sequence of targets without changing this limiter.

        Args:
            rows: target positions, rad. Shape (M, K, J).
            robots: robot of each sequence. Shape (M,).

        Returns:
            Commands, rad. Shape (M, K, J).
        """
        sent = rows.copy()
        passes = self._passes(rows, robots)
        clipped = np.flatnonzero(~passes.all(axis=1))
        if not len(clipped):
            return sent
        trial = self.part(robots[clipped])
        chosen = rows[clipped]
        # Past its last row a motion goes on as fast.
        path = np.concatenate([trial._position[:, None], chosen], axis=1)
        after = np.concatenate([chosen[:, 1:], 2 * path[:, -1:] - path[:, -2:-1]], axis=1)
        # A command depends on the target after it, too.
        first = max(int(passes[clipped].argmin(axis=1).min()) - 1, 0)
        if first:
            trial._position = path[:, first]
            trial._velocity = (path[:, first] - path[:, first - 1]) / self._period
        inside, ahead = self._inside(chosen), self._inside(after)
        for step in range(first, rows.shape[1]):
            trial._move(inside[:, step], ahead[:, step])
            sent[clipped, step] = trial._position
        return sent

    def _passes(self, rows: Array, robots: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether each step of motions is within the limits. (M, K)."""
        limits = self._limits
        before = np.concatenate([self._position[robots, None], rows[:, :-1]], axis=1)
        velocity = (rows - before) / self._period
        first = self._velocity[robots, None]
        change = np.diff(np.concatenate([first, velocity], axis=1), axis=1)
        room = clip(np.stack([limits.upper - before, before - limits.lower]), 0.0, self._far)
        up, down = approach_speed(room, self._change, self._period)
        slow = (velocity <= up) & (-velocity <= down)
        within = (np.abs(velocity) <= limits.velocity) & (np.abs(change) <= self._change)
        inside = (rows >= limits.lower) & (rows <= limits.upper)
        return np.asarray((within & slow & inside).all(axis=2))

    def _count(self, target: Array, inside: Array, asked: Array, velocity: Array) -> None:
        if target.size == 0:
            return
        change = float(np.abs(self._position - target).max())
        self.largest_change = max(self.largest_change, change)
        outside = np.abs(target - inside) > ROUNDING_RAD
        changed = np.abs(velocity - asked) * self._period > ROUNDING_RAD
        if changed.any() or outside.any():
            fast = (np.abs(asked) - self._limits.velocity) * self._period > ROUNDING_RAD
            self.clipped["position"] += int(outside.sum())
            self.clipped["velocity"] += int((fast & ~outside).sum())
            self.clipped["acceleration"] += int((changed & ~fast & ~outside).sum())


class Unlimited(Limiter):
    """Sends every target unchanged: where no arm is known, nothing limits the numbers."""

    def __init__(self, number: int, rate_hz: float) -> None:
        """Store the rate.

        Args:
            number: of an action.
            rate_hz: commands per second.
        """
        self._period = 1.0 / rate_hz
        self.reset(np.zeros((0, number)))

    def step(self, target: Array, following: Array) -> Array:
        """Return the target.

        Args:
            target: shape (N, A).
            following: not used.
        """
        self._velocity = (target - self._position) / self._period
        self._position = target.copy()
        return target.copy()


def make_limiter(limits: JointLimits, rate_hz: float) -> Limiter:
    """Create the limiter for some limits.

    Args:
        limits: the joint limits; infinite ones limit nothing.
        rate_hz: commands per second.
    """
    if np.isinf(limits.velocity).all() and np.isinf(limits.acceleration).all():
        return Unlimited(len(limits.lower), rate_hz)
    return Limiter(limits, rate_hz)


def clip(values: Array, low: Array | float, high: Array | float) -> Array:
    """Clip as `np.clip` does, in a tenth of its time for a few numbers.

    Args:
        values: any shape.
        low: smallest values; broadcasts.
        high: largest values; broadcasts.
    """
    clipped: Array = np.minimum(np.maximum(values, low), high)
    return clipped


def approach_speed(distance: Array, change: Array, period_s: float) -> Array:
    """Compute the largest speed of the next step that still allows a stop after `distance`.

    Steps at speeds u, u − c, u − 2c, … (c the change of speed in a step) end exactly at the
    distance: with n of them, n·u − c·n(n − 1)/2 = distance / period, and n is the smallest number
    with c·n(n + 1)/2 ≥ distance / period. This is the time-optimal approach in discrete time.

    Args:
        distance: remaining distance, at least 0, rad. Shape (..., J).
        change: largest change of speed in one step, rad/s. Shape (J,).
        period_s: duration of a step, s.

    Returns:
        Speed, rad/s. Shape (..., J).
    """
    way = distance / period_s
    steps = np.ceil(0.5 * np.sqrt(1 + way * (8 / change)) - (0.5 + 1e-9))
    steps = np.maximum(steps, 1.0)
    return np.asarray(way / steps + (change / 2) * (steps - 1))

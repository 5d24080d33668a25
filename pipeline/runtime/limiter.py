"""Keeps joint commands within position, velocity and acceleration limits, on N robots at once.

NumPy alone. It sees one target at a time and the one after it. N robots, J joints.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.kinematics import JointLimits

Array = NDArray[np.float64]
KINDS = ("position", "velocity", "acceleration")
ROUNDING_RAD = 1e-9
"""A command that differs from its target by less than this was not clipped, rad."""


class Limiter:
    """Follows targets as closely as the limits allow, and never so fast that it cannot stop.

    Commands x have velocity v = Δx · rate and acceleration Δv · rate; all stay within the limits
    at every step. A motion that is within the limits passes unchanged. Where one is not, the
    command catches up in the fewest steps without overshoot: `approach_speed`.
    """

    def __init__(self, limits: JointLimits, rate_hz: float) -> None:
        """Fix the limits.

        Args:
            limits: of the joints.
            rate_hz: commands a second.
        """
        self._limits, self._period = limits, 1.0 / rate_hz
        self._change = limits.acceleration * self._period
        # Beyond this distance only the speed limit counts; it keeps infinity out of the arithmetic.
        self._far = limits.velocity**2 / limits.acceleration + 2 * limits.velocity * self._period
        self.reset(np.zeros((0, len(limits.lower))))

    def reset(self, position: Array) -> None:
        """Start at rest, with all counts at 0.

        Args:
            position: where the joints are commanded to be, rad. Shape (N, J). A joint outside its
                limits is led back and never pushed further out.
        """
        self._position = position.copy()
        self._velocity = np.zeros_like(position)
        self.clipped = dict.fromkeys(KINDS, 0)
        self.largest_change = 0.0

    def step(self, target: Array, following: Array) -> Array:
        """The next command.

        Args:
            target: position asked for, rad. Shape (N, J).
            following: position asked for one step later; it sets the velocity of arrival.

        Returns:
            Position to command, rad. Shape (N, J).
        """
        limits, period = self._limits, self._period
        inside = np.clip(target, limits.lower, limits.upper)
        ahead = np.clip(following, limits.lower, limits.upper)
        asked = (inside - self._position) / period
        # The target moves on at `drift`; relative to it the lag must shrink to 0.
        drift = np.clip((ahead - inside) / period, -limits.velocity, limits.velocity)
        lag = inside - drift * period - self._position
        speed = approach_speed(np.minimum(np.abs(lag), self._far), self._change, period)
        wanted = drift + np.sign(lag) * speed
        # With a short lag the approach equals what was asked; rounding must not change it.
        wanted = np.where(speed <= self._change, asked, wanted)
        slow = np.clip(wanted, -limits.velocity, limits.velocity)
        room_up = np.clip(limits.upper - self._position, 0.0, self._far)
        room_down = np.clip(self._position - limits.lower, 0.0, self._far)
        up = np.minimum(limits.velocity, approach_speed(room_up, self._change, period))
        down = np.minimum(limits.velocity, approach_speed(room_down, self._change, period))
        low = np.maximum(self._velocity - self._change, -down)
        high = np.minimum(self._velocity + self._change, up)
        velocity = np.minimum(np.maximum(slow, low), high)
        self._count(target, inside, asked, velocity)
        exact = np.abs(velocity - asked) * period <= ROUNDING_RAD
        moved = np.where(exact, inside, self._position + velocity * period)
        # Rounding may put it past a limit.
        moved = np.clip(
            moved,
            np.minimum(limits.lower, self._position),
            np.maximum(limits.upper, self._position),
        )
        self._velocity = (moved - self._position) / period
        self._position = moved
        return moved.copy()

    @property
    def rate_hz(self) -> float:
        """Commands a second."""
        return 1.0 / self._period

    @property
    def position(self) -> Array:
        """What was commanded last, rad. Shape (N, J)."""
        return self._position

    def part(self, robots: NDArray[np.int64]) -> Limiter:
        """Another limiter that stands where some of the robots do.

        Args:
            robots: which. Shape (M,).
        """
        other = Limiter(self._limits, self.rate_hz)
        other._position = self._position[robots].copy()
        other._velocity = self._velocity[robots].copy()
        return other

    def preview(self, rows: Array, robots: NDArray[np.int64]) -> Array:
        """What would be sent if nothing but these rows were asked for; nothing is changed by it.

        Args:
            rows: positions asked for, rad. Shape (M, K, J).
            robots: whose rows they are. Shape (M,).

        Returns:
            rad. Shape (M, K, J).
        """
        sent = rows.copy()
        clipped = np.flatnonzero(~self._passes(rows, robots))
        if not len(clipped):
            return sent
        trial = self.part(robots[clipped])
        chosen = rows[clipped]
        before = trial._position
        for step in range(rows.shape[1]):
            target = chosen[:, step]
            last = step == rows.shape[1] - 1
            following = 2 * target - before if last else chosen[:, step + 1]
            sent[clipped, step] = trial.step(target, following)
            before = target
        return sent

    def _passes(self, rows: Array, robots: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which motions are within the limits at every step, so that `step` leaves them alone."""
        limits = self._limits
        before = np.concatenate([self._position[robots, None], rows[:, :-1]], axis=1)
        velocity = (rows - before) / self._period
        first = self._velocity[robots, None]
        change = np.diff(np.concatenate([first, velocity], axis=1), axis=1)
        up = np.clip(limits.upper - before, 0.0, self._far)
        down = np.clip(before - limits.lower, 0.0, self._far)
        slow = (velocity <= approach_speed(up, self._change, self._period)) & (
            -velocity <= approach_speed(down, self._change, self._period)
        )
        within = (np.abs(velocity) <= limits.velocity) & (np.abs(change) <= self._change)
        inside = (rows >= limits.lower) & (rows <= limits.upper)
        return np.asarray((within & slow & inside).all(axis=(1, 2)))

    def _count(self, target: Array, inside: Array, asked: Array, velocity: Array) -> None:
        if target.size == 0:
            return
        outside = np.abs(target - inside) > ROUNDING_RAD
        fast = (np.abs(asked) - self._limits.velocity) * self._period > ROUNDING_RAD
        changed = np.abs(velocity - asked) * self._period > ROUNDING_RAD
        self.clipped["position"] += int(outside.sum())
        self.clipped["velocity"] += int((fast & ~outside).sum())
        self.clipped["acceleration"] += int((changed & ~fast & ~outside).sum())
        sent = self._position + velocity * self._period
        self.largest_change = max(self.largest_change, float(np.abs(sent - target).max()))


def approach_speed(distance: Array, change: Array, period_s: float) -> Array:
    """Largest speed of the next step that still allows a stop after `distance`.

    Steps at speeds u, u − c, u − 2c, … (c the change of speed in a step) end exactly at the
    distance: with n of them, n·u − c·n(n − 1)/2 = distance / period, and n is the smallest number
    with c·n(n + 1)/2 ≥ distance / period. This is the time-optimal approach in discrete time.

    Args:
        distance: remaining distance, rad, at least 0. Shape (..., J).
        change: largest change of speed in one step, rad/s. Shape (J,).
        period_s: duration of a step, s.

    Returns:
        Speed, rad/s. Shape (..., J).
    """
    way = distance / period_s
    steps = np.ceil((np.sqrt(1 + 8 * way / change) - 1) / 2 - 1e-9)
    steps = np.maximum(steps, 1)
    return np.asarray(way / steps + change * (steps - 1) / 2)

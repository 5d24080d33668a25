"""Inverse kinematics of a grasp: grasp centre at a point, its z along a direction, yaw free.

General damped least squares over whatever joints the model has; no formula of an arm. Knows
nothing of collisions but a function that says whether a configuration is free.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import pinocchio as pin
from numpy.typing import NDArray

from pipeline.robot.model import RobotModel

Array = NDArray[np.float64]
Failure = Literal["unreachable", "goal in collision"]

POSITION_TOLERANCE_M = 1e-6
ANGLE_TOLERANCE_RAD = 1e-6
MAX_ITERATIONS = 80
MAX_STEP_RAD = 0.3
PATIENCE = 12
"""Iterations after which the error must have shrunk by a tenth, or the start is given up."""
LEAN_DAMPING = 0.05
"""Damping of the secondary task; keeps it quiet where the direction is out of reach, rad²."""
BRANCH_SEED = 0
"""Seed of the fixed starts of `nearest`: the solution must be a function of the goal alone."""


class InverseKinematics:
    """Solver for five-degree-of-freedom goals, from one start or from several."""

    def __init__(self, model: RobotModel, num_seeds: int):
        """Prepare the starts.

        Args:
            model: the arm.
            num_seeds: random starts that are tried, for `nearest` beside the home pose.
        """
        self._model = model
        self._num_seeds = num_seeds
        rng = np.random.default_rng(BRANCH_SEED)
        self._branch_starts = [self._random_start(rng) for _ in range(num_seeds)]

    def nearest(
        self, position: Array, direction: Array, is_free: Callable[[Array], bool]
    ) -> tuple[Array | None, Failure | None]:
        """The solution nearest to home, a function of the goal alone.

        Home's own descent comes first, because it changes smoothly with the goal; only where it
        fails or ends in a collision do fixed random starts look for other branches.

        Args:
            position: where the grasp centre shall be, m, base frame, shape (3,).
            direction: where its z axis shall point, unit, base frame, shape (3,).
            is_free: whether a configuration (J,) is without collision.

        Returns:
            Joint positions (J,) and None, or None and why there is no solution.
        """
        home = self._model.home
        first = self.solve(position, direction, home)
        if first is not None and is_free(first):
            return first, None
        found = [] if first is None else [first]
        for start in self._branch_starts:
            solution = self.solve(position, direction, start)
            if solution is not None:
                found.append(self._towards_home(position, direction, solution))
        for solution in sorted(found, key=lambda q: float(np.linalg.norm(q - home))):
            if is_free(solution):
                return solution, None
        return None, "goal in collision" if found else "unreachable"

    def random(
        self,
        position: Array,
        direction: Array,
        is_free: Callable[[Array], bool],
        rng: np.random.Generator,
    ) -> tuple[Array | None, Failure | None]:
        """Any solution: random branch and random yaw, as MoveIt's KDL solver leaves them.

        Args:
            position: where the grasp centre shall be, m, base frame, shape (3,).
            direction: where its z axis shall point, unit, base frame, shape (3,).
            is_free: whether a configuration (J,) is without collision.
            rng: draws the starts, uniform within the limits.

        Returns:
            Joint positions (J,) and None, or None and why there is no solution.
        """
        failure: Failure = "unreachable"
        for _ in range(self._num_seeds):
            solution = self.solve(position, direction, self._random_start(rng))
            if solution is None:
                continue
            if is_free(solution):
                return solution, None
            failure = "goal in collision"
        return None, failure

    def solve(self, position: Array, direction: Array, start: Array) -> Array | None:
        """Descend from one start by damped least squares (Wampler 1986), within the limits.

        A joint that moves neither the grasp centre nor its z axis, as a last wrist joint, stays
        where the start has it.

        Args:
            position: where the grasp centre shall be, m, base frame, shape (3,).
            direction: where its z axis shall point, unit, base frame, shape (3,).
            start: joint positions, rad, shape (J,).

        Returns:
            Joint positions (J,) within 1e-6 m and 1e-6 rad of the goal, continuous joints within π
            of home, or None.
        """
        model = self._model
        placement = model.world_base
        goal = placement.act(position), placement.rotation @ direction
        q = start.copy()
        history: list[float] = []
        for _ in range(MAX_ITERATIONS):
            error, jacobian = self._linearise(q, *goal)
            if (
                np.linalg.norm(error[:3]) < POSITION_TOLERANCE_M
                and np.linalg.norm(error[3:]) < ANGLE_TOLERANCE_RAD
            ):
                return model.unwind(q)
            history.append(float(error @ error))
            if len(history) > PATIENCE and history[-1] > 0.81 * history[-1 - PATIENCE]:
                return None
            step = _damped_step(jacobian, error)
            blocked = ((q <= model.lower) & (step < 0)) | ((q >= model.upper) & (step > 0))
            if blocked.any():
                step = _damped_step(np.where(blocked, 0.0, jacobian), error)
            step *= min(1.0, MAX_STEP_RAD / max(float(np.abs(step).max()), 1e-12))
            q = np.clip(q + step, model.lower, model.upper)
        return None

    def lean(self, position: Array, direction: Array, start: Array) -> Array | None:
        """The position exactly, the direction as nearly as reach and limits allow.

        Two tasks with priority (Nakamura 1991): joints that leave the position alone turn towards
        the direction.

        Args:
            position: where the grasp centre shall be, m, base frame, shape (3,).
            direction: where its z axis should point, unit, base frame, shape (3,).
            start: joint positions, rad, shape (J,).

        Returns:
            Joint positions (J,) within 1e-6 m of the position, or None.
        """
        model = self._model
        placement = model.world_base
        goal = placement.act(position), placement.rotation @ direction
        q = start.copy()
        reached = None
        for _ in range(MAX_ITERATIONS):
            error, jacobian = self._linearise(q, *goal)
            if np.linalg.norm(error[:3]) < POSITION_TOLERANCE_M:
                reached = q
            step = _prioritised_step(jacobian, error)
            blocked = ((q <= model.lower) & (step < 0)) | ((q >= model.upper) & (step > 0))
            if blocked.any():
                step = _prioritised_step(np.where(blocked, 0.0, jacobian), error)
            if reached is q and np.abs(step).max() < ANGLE_TOLERANCE_RAD:
                break
            step *= min(1.0, MAX_STEP_RAD / max(float(np.abs(step).max()), 1e-12))
            q = np.clip(q + step, model.lower, model.upper)
        return None if reached is None else model.unwind(reached)

    def _linearise(self, q: Array, position: Array, direction: Array) -> tuple[Array, Array]:
        """Error of a configuration, metres and radians, and how the joints change it."""
        model = self._model
        jacobian = pin.computeFrameJacobian(
            model.pinocchio,
            model.data,
            model.configuration(q),
            model.tcp_frame,
            pin.ReferenceFrame.LOCAL_WORLD_ALIGNED,
        )[:, model.velocity_index]
        pose = pin.updateFramePlacement(model.pinocchio, model.data, model.tcp_frame)
        axis = pose.rotation[:, 2]
        # Turning about the axis itself changes nothing: that part of the Jacobian is taken out.
        jacobian[3:] -= np.outer(axis, axis @ jacobian[3:])
        error = np.concatenate([position - pose.translation, _turn(axis, direction, pose.rotation)])
        return error, jacobian

    def _towards_home(self, position: Array, direction: Array, solution: Array) -> Array:
        """Slide along the solutions of one goal (its null space, as a free yaw) towards home."""
        best = solution
        for _ in range(5):
            placement = self._model.world_base
            _, jacobian = self._linearise(
                best, placement.act(position), placement.rotation @ direction
            )
            _, values, rows = np.linalg.svd(jacobian)
            null = rows[int(np.sum(values > 1e-6 * values[0])) :]
            wish = null.T @ (null @ (self._model.home - best))
            wished = np.clip(best + wish, self._model.lower, self._model.upper)
            nearer = self.solve(position, direction, wished)
            if nearer is None or self._from_home(nearer) > self._from_home(best) - 1e-6:
                break
            best = nearer
        return best

    def _from_home(self, q: Array) -> float:
        return float(np.linalg.norm(q - self._model.home))

    def _random_start(self, rng: np.random.Generator) -> Array:
        return rng.uniform(*self._model.planning_range())


def _damped_step(jacobian: Array, error: Array) -> Array:
    """Joint step that reduces the error; more damping the further away the goal is."""
    damping = 1e-8 + 1e-2 * float(error @ error)
    gram = jacobian @ jacobian.T + damping * np.eye(len(error))
    step: Array = jacobian.T @ np.linalg.solve(gram, error)
    return step


def _prioritised_step(jacobian: Array, error: Array) -> Array:
    """Joint step for the position and, in what it leaves free, for the direction."""
    first, second = jacobian[:3], jacobian[3:]
    towards = _damped_step(first, error[:3])
    free = np.eye(jacobian.shape[1]) - np.linalg.pinv(first, rcond=1e-3) @ first
    rest = error[3:] - second @ towards
    inner = second @ free
    gram = inner @ inner.T + LEAN_DAMPING * np.eye(3)
    step: Array = towards + free @ inner.T @ np.linalg.solve(gram, rest)
    return step


def _turn(axis: Array, direction: Array, rotation: Array) -> Array:
    """Rotation vector that turns `axis` into `direction` on the shortest way, rad."""
    normal: Array = pin.skew(axis) @ direction
    sine, cosine = float(np.linalg.norm(normal)), float(axis @ direction)
    if sine < 1e-12:
        # Opposite axes have no shortest way: take the frame's own x axis.
        return np.zeros(3) if cosine > 0 else np.pi * rotation[:, 0]
    turn: Array = normal * (np.arctan2(sine, cosine) / sine)
    return turn

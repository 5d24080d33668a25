"""Plans a grasp as MoveIt2's default pipeline does: IK, RRTConnect, simplification, timing.

Plans are repeatable if the process calls `seed_planning` first: effort is limited by the number of
collision checks, never by time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from ompl import base, geometric, util

from pipeline.clearance.model import ClearanceModel
from pipeline.clearance.objects import Objects
from pipeline.clearance.optimise import PathOptimiser
from pipeline.obstacles import COLUMNS, distances
from pipeline.params import CollectParams, RobotParams, TaskParams
from pipeline.robot.arrangement import draw_arrangement
from pipeline.robot.chain import kinematic_chain
from pipeline.robot.collision import CollisionChecker
from pipeline.robot.covering import collision_geometry
from pipeline.robot.ik import InverseKinematics
from pipeline.robot.retime import Plan, parameterise, path_length

Array = NDArray[np.float64]
Reason = Literal[
    "start in collision",
    "unreachable",
    "goal in collision",
    "no path found",
    "collision after timing",
    "straight line, left out",
]
REASONS: tuple[str, ...] = get_args(Reason)

PATH_DEVIATION_RAD = 0.1
"""How far timing may cut a corner (MoveIt's path_tolerance); smaller values are tried on
collision."""
DEVIATION_TRIES = 3
ATTEMPTS = 3
"""Searches for a path; each checks collisions four times as densely as the previous one."""

util.setLogLevel(util.LogLevel.LOG_NONE)


def seed_planning(seed: int) -> None:
    """Seed OMPL. It works once per process, before the first plan.

    Args:
        seed: any integer; it is mapped to OMPL's range, which starts at 1.
    """
    util.RNG.setSeed(1 + seed % (2**32 - 1))


@dataclass(frozen=True)
class Scene:
    """What one query must not touch."""

    checker: CollisionChecker
    object_pos: Array
    """Centre of the object, m, base frame. Shape (3,)."""
    object_axis: Array
    """Unit axis towards the cap, base frame. Shape (3,)."""

    def touches(self, joint_pos: Array) -> bool:
        """Tell whether the arm touches anything, the clearance included.

        Args:
            joint_pos: rad. Shape (J,).
        """
        return self.checker.collides(joint_pos, self.object_pos, self.object_axis)


class Planner:
    """Plans collision-free motions to a grasp of the object's cap."""

    reason: Reason | None = None
    """Why the last call of `plan` found none."""

    def __init__(self, robot: RobotParams, task: TaskParams, collect: CollectParams):
        """Load the arm and set up the planning space.

        All checks of the planner keep the clearance of `collect`, and so does `checker`.

        Args:
            robot: the arm.
            task: table and object.
            collect: inverse kinematics, resolution, effort and spacing of a plan's points.

        Raises:
            ModelError: the robot's description does not match params.yaml.
        """
        self.checker = CollisionChecker(
            robot, task, collect.clearance_m, collect.object_clearance_m
        )
        self.model = self.checker.model
        self._optimiser: PathOptimiser | None = None
        if collect.optimise_clearance_m is not None:
            shapes = collision_geometry(robot, task)
            arm = (kinematic_chain(self.model), self.model.joints, shapes, self.model.limits)
            clearance = ClearanceModel(*arm, obstacles=task.arrangement.number[1])
            limits = self.model.planning_range()
            self._optimiser = PathOptimiser(clearance, limits, collect.optimise_clearance_m)
        self._task, self._collect = task, collect
        self._ik = InverseKinematics(self.model, collect.ik_seeds)
        space = base.RealVectorStateSpace(len(self.model.joints))
        bounds = base.RealVectorBounds(len(self.model.joints))
        lower, upper = self.model.planning_range()
        for i in range(len(self.model.joints)):
            bounds.setLow(i, float(lower[i]))
            bounds.setHigh(i, float(upper[i]))
        space.setBounds(bounds)
        self._space = space
        self._checks = 0

    def arrange(self, object_pos: Array, object_axis: Array, rng: np.random.Generator) -> Array:
        """Draw obstacles for an object, and plan around them from now on.

        They stay clear of the arm at home and keep `task.arrangement.object_gap_m` from the object.

        Args:
            object_pos: centre of the object, m, base frame, shape (3,).
            object_axis: its unit axis, towards the cap, shape (3,).
            rng: draws the arrangement.

        Returns:
            Obstacles. Shape (M, 12).
        """
        if not self._task.arrangement.number[1]:
            self.checker.place_obstacles(np.zeros((0, COLUMNS)))
            return self.checker.obstacles

        def is_allowed(obstacle: Array) -> bool:
            if self._object_gap(obstacle[0], object_pos, object_axis):
                return False
            self.checker.place_obstacles(obstacle)
            return not self.checker.collides(self.model.home, object_pos, object_axis)

        rows = draw_arrangement(self._task, rng, is_allowed)
        self.checker.place_obstacles(rows)
        return rows

    def _object_gap(self, obstacle: Array, object_pos: Array, object_axis: Array) -> bool:
        """Whether an obstacle is nearer to the object than it may be."""
        along = np.linspace(-0.5, 0.5, 9)[:, None] * self._task.object_length_m
        points = object_pos + along * object_axis
        least = self._task.arrangement.object_gap_m + self._task.object_radius_m
        return bool((distances(points, obstacle[None]) < least).any())

    def plan(
        self,
        object_pos: Array,
        object_axis: Array,
        rng: np.random.Generator,
        start: Array | None = None,
    ) -> Plan | None:
        """Plan a timed motion to the grasp, from rest to rest.

        At the grasp the TCP is at the object's cap, its z axis opposite to the object's axis; the
        yaw is free.

        Args:
            object_pos: centre of the object, m, base frame, shape (3,).
            object_axis: its unit axis, towards the cap, shape (3,).
            rng: draws the starts of `collect.ik: random`.
            start: joint positions at the start, rad, shape (J,); None for home.

        Returns:
            The plan, or None with the cause in `reason`.
        """
        self.reason = None
        start = self.model.home if start is None else start

        def is_free(joint_pos: Array) -> bool:
            return not self.checker.collides(joint_pos, object_pos, object_axis)

        if not is_free(start):
            self.reason = "start in collision"
            return None
        cap = object_pos + object_axis * self._task.object_length_m / 2
        if self._collect.ik == "random":
            goal, failure = self._ik.random(cap, -object_axis, is_free, rng)
        else:
            goal, failure = self._ik.nearest(cap, -object_axis, is_free)
        if goal is None:
            self.reason = failure or "unreachable"
            return None
        return self._plan_between(Scene(self.checker, object_pos, object_axis), start, goal)

    def _plan_between(self, scene: Scene, start: Array, goal: Array) -> Plan | None:
        """Plan from one free configuration to another, or give the cause in `reason`."""
        plan = self._optimised(np.stack([start, goal]), scene)
        if plan is not None:
            return plan
        for attempt in range(ATTEMPTS):
            # A coarse search may step over a thin object, so the next one is finer.
            resolution = self._collect.collision_resolution / 4**attempt
            path = self._shortest_path((start, goal), scene, resolution)
            if path is None:
                self.reason = "no path found"
                return None
            plan = self._optimised(path, scene) or self._time(path, scene)
            if plan is not None:
                return plan
        self.reason = "collision after timing"
        return None

    def _optimised(self, path: Array, scene: Scene) -> Plan | None:
        """Time a path that is bent away from obstacles; None if it still touches something."""
        if self._optimiser is None:
            return None
        around = scene.checker.obstacles[None] if len(scene.checker.obstacles) else None
        objects = Objects(scene.object_pos[None], scene.object_axis[None], around)
        return self._time(self._optimiser.run(path, objects), scene)

    def _time(self, path: Array, scene: Scene) -> Plan | None:
        """Time a path, cutting corners as far as the motion stays free of collisions."""
        for shrink in range(DEVIATION_TRIES):
            plan = parameterise(
                path,
                self.model.velocity_limits,
                self.model.acceleration_limits,
                PATH_DEVIATION_RAD / 4**shrink,
                self._collect.plan_dt_s,
            )
            if plan is not None and self._is_free_all_along(plan, scene):
                return plan
            if len(path) == 2:
                return None
        return None

    def _shortest_path(
        self, ends: tuple[Array, Array], scene: Scene, resolution: float
    ) -> Array | None:
        """Find the shortest of `collect.planning_attempts` paths; stop early at a straight one."""
        best: Array | None = None
        for _ in range(self._collect.planning_attempts):
            path = self._find_path(ends, scene, resolution)
            if path is not None and (best is None or path_length(path) < path_length(best)):
                best = path
            if best is not None and len(best) == 2:
                break
        return best

    def _find_path(
        self, ends: tuple[Array, Array], scene: Scene, resolution: float
    ) -> Array | None:
        """Find simplified waypoints from a start to a goal, rad, shape (W, J)."""
        number = len(ends[1])
        self._checks = 0

        def is_valid(state: base.State) -> bool:
            self._checks += 1
            return not scene.touches(np.array([state[i] for i in range(number)]))

        setup = geometric.SimpleSetup(self._space)
        setup.setStateValidityChecker(is_valid)
        information = setup.getSpaceInformation()
        information.setStateValidityCheckingResolution(resolution)
        setup.setStartAndGoalStates(*map(self._state, ends))
        setup.setPlanner(geometric.RRTConnect(information))
        effort = self._collect.planning_checks
        asked = 0

        def is_over() -> bool:
            # A planner that rejects the goal without a collision check would never end.
            nonlocal asked
            asked += 1
            return max(self._checks, asked) > effort

        setup.solve(base.PlannerTerminationCondition(is_over))
        if not setup.haveExactSolutionPath():
            return None
        path = setup.getSolutionPath()
        if path.getStateCount() > 2:
            stop = base.PlannerTerminationCondition(lambda: self._checks > 2 * effort)
            geometric.PathSimplifier(information).simplify(path, stop)
        return np.array([[state[i] for i in range(number)] for state in path.getStates()])

    def _state(self, joint_pos: Array) -> base.State:
        state = self._space.allocState()
        for i, value in enumerate(joint_pos):
            state[i] = float(value)
        return state

    def _is_free_all_along(self, plan: Plan, scene: Scene) -> bool:
        """Check the commands of the controller, eight times as densely as the path was checked."""
        if plan.duration_s == 0:
            return True
        longest = self._collect.collision_resolution * self._space.getMaximumExtent() / 8
        points = int(np.ceil(path_length(plan.joint_pos) / longest)) + 1
        times = np.linspace(0.0, plan.duration_s, points)
        return not any(map(scene.touches, plan.sample(times)))

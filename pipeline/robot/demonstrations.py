"""Expert demonstrations: draw an object, plan the grasp, execute it on the simulated servo."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipeline.obstacles import COLUMNS
from pipeline.params import CollectParams, RobotParams, TaskParams
from pipeline.robot.arrangement import sample_object
from pipeline.robot.planner import Planner, Reason, seed_planning
from pipeline.robot.retime import Plan, is_straight
from pipeline.robot.simulator import Simulator

Array = NDArray[np.float64]

SHARD_TRIES = 40
"""Objects in one shard. Another number gives other demonstrations for the same seed."""


@dataclass(frozen=True)
class Demonstration:
    """A plan and its execution by the servo: K joint states of J joints."""

    plan: Plan
    t: Array
    """Times of the joint states from the start of the execution, s. (K,)."""
    joint_pos: Array
    """Measured positions, rad. (K, J)."""
    joint_vel: Array
    """Measured velocities, rad/s. (K, J)."""
    end_error_m: float
    """Distance of the grasp centre from the object's cap in the last joint state."""
    end_error_deg: float
    """Angle between the grasp centre's z axis and the object's axis in the last joint state."""


@dataclass(frozen=True)
class Try:
    """One object with its demonstration, or with the reason why there is none."""

    object_pos: Array
    """Centre of the object, m, base frame. (3,)."""
    object_axis: Array
    """Unit axis towards the cap, base frame. (3,)."""
    reason: Reason | None
    demonstration: Demonstration | None
    obstacles: Array = field(default_factory=lambda: np.zeros((0, COLUMNS)))
    """Obstacles around the arm, in addition to those of the scene. Shape (M, 12)."""

    @property
    def tilt_deg(self) -> float:
        """Angle between the object's axis and the vertical."""
        return float(np.degrees(np.arccos(np.clip(self.object_axis[2], -1.0, 1.0))))


def demonstrate(
    robot: RobotParams, task: TaskParams, collect: CollectParams, shard: int
) -> list[Try]:
    """Plan and execute grasps of one shard of objects.

    Call it once in a process of its own, because OMPL can be seeded only once (`seed_planning`).

    Args:
        robot: the arm.
        task: object and table.
        collect: how to plan, execute and sample.
        shard: number of the shard; it and `collect.seed` determine all random draws.

    Returns:
        `SHARD_TRIES` tries, in the order of drawing.

    Raises:
        ModelError: the robot's description does not match params.yaml.
    """
    seeds = np.random.SeedSequence(collect.seed, spawn_key=(shard,))
    seed_planning(int(seeds.generate_state(1)[0]))
    rng = np.random.default_rng(seeds)
    planner = Planner(robot, task, collect)
    objects, plans, reasons, obstacles = [], [], [], []
    for _ in range(SHARD_TRIES):
        # Each object has its own generator, so that solving one does not affect the next.
        own = rng.spawn(1)[0]
        objects.append(sample_object(task, own))
        obstacles.append(planner.arrange(*objects[-1], own))
        plan, reason = planner.plan(*objects[-1], own), planner.reason
        left_out = plan is not None and own.random() >= collect.straight_share
        if plan is not None and left_out and is_straight(plan.joint_pos):
            plan, reason = None, "straight line, left out"
        plans.append(plan)
        reasons.append(reason)
    done = iter(_execute(robot, task, collect, planner, objects, plans))
    return [
        Try(*where, reason, None if plan is None else next(done), around)
        for where, plan, reason, around in zip(objects, plans, reasons, obstacles, strict=True)
    ]


def _execute(
    robot: RobotParams,
    task: TaskParams,
    collect: CollectParams,
    planner: Planner,
    objects: list[tuple[Array, Array]],
    plans: list[Plan | None],
) -> list[Demonstration]:
    found = [(where, plan) for where, plan in zip(objects, plans, strict=True) if plan is not None]
    if not found:
        return []
    rate_hz = collect.joint_state_hz
    counts = [int((plan.duration_s + collect.hold_s) * rate_hz) for _, plan in found]
    times = np.arange(max(counts) + 1) / rate_hz
    commands = np.stack([plan.sample(times[1:]) for _, plan in found])
    home = np.tile(planner.model.home, (len(found), 1))
    # One thread, because the shards already run in parallel.
    simulator = Simulator(robot, rate_hz, collect.physics_steps, threads=1)
    simulator.reset(home)
    joint_pos, joint_vel = simulator.run(commands)
    joint_pos = np.concatenate([home[:, None], joint_pos], axis=1)
    joint_vel = np.concatenate([np.zeros_like(home)[:, None], joint_vel], axis=1)
    demonstrations = []
    for i, ((position, axis), plan) in enumerate(found):
        end = counts[i] + 1
        tcp = planner.model.tcp(joint_pos[i, end - 1])
        cap = position + axis * task.object_length_m / 2
        cosine = float(np.clip(-tcp.rotation[:, 2] @ axis, -1.0, 1.0))
        demonstrations.append(
            Demonstration(
                plan,
                times[:end],
                joint_pos[i, :end].copy(),
                joint_vel[i, :end].copy(),
                float(np.linalg.norm(tcp.translation - cap)),
                float(np.degrees(np.arccos(cosine))),
            )
        )
    return demonstrations

"""Expert demonstrations: draw an object, plan the grasp, execute the plan on the simulated servo.

Knows nothing of recordings or of how shards of work are spread over processes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.params import CollectParams, RobotParams, TaskParams
from pipeline.robot.planner import Planner, Reason, sample_object, seed_planning
from pipeline.robot.retime import Plan
from pipeline.robot.simulator import Simulator

Array = NDArray[np.float64]

SHARD_TRIES = 40
"""Objects of one shard; part of what a seed means, like the order of random draws."""


@dataclass(frozen=True)
class Demonstration:
    """A plan and how the servo executed it; K joint states of J joints."""

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
    """Angle between the grasp centre's z axis and the object's axis there."""


@dataclass(frozen=True)
class Try:
    """One object and what came of it: a demonstration, or why there is none."""

    object_pos: Array
    """Centre of the object, m, base frame. (3,)."""
    object_axis: Array
    """Unit axis towards the cap, base frame. (3,)."""
    reason: Reason | None
    demonstration: Demonstration | None

    @property
    def tilt_deg(self) -> float:
        """Angle between the object's axis and the vertical."""
        return float(np.degrees(np.arccos(np.clip(self.object_axis[2], -1.0, 1.0))))


def demonstrate(
    robot: RobotParams, task: TaskParams, collect: CollectParams, shard: int
) -> list[Try]:
    """Try one shard of objects. To be called once in a process of its own (see `seed_planning`).

    Args:
        robot: the arm.
        task: object and table.
        collect: how to plan, execute and sample.
        shard: number of the shard; with `collect.seed` it fixes everything that is drawn.

    Returns:
        `SHARD_TRIES` tries, in the order of drawing.

    Raises:
        ModelError: the robot's description does not fit.
    """
    seeds = np.random.SeedSequence(collect.seed, spawn_key=(shard,))
    seed_planning(int(seeds.generate_state(1)[0]))
    rng = np.random.default_rng(seeds)
    planner = Planner(robot, task, collect)
    objects, plans, reasons = [], [], []
    for _ in range(SHARD_TRIES):
        # Each object has a generator of its own: how one is solved does not move the next.
        own = rng.spawn(1)[0]
        objects.append(sample_object(task, own))
        plans.append(planner.plan(*objects[-1], own))
        reasons.append(planner.reason)
    done = iter(_execute(robot, task, collect, planner, objects, plans))
    return [
        Try(*where, reason, None if plan is None else next(done))
        for where, plan, reason in zip(objects, plans, reasons, strict=True)
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
    # One thread: the shards themselves share the cores.
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

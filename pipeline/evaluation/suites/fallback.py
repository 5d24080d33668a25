"""Lets the expert's planner take over where a robot is stuck.

A robot is stuck if the guard has held it for too long, or if it has stood still short of the grasp.

These rollouts are separate ones: the policy's own results stay as they are. N trials, B of them are
taken over, T control steps, J joints.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation import metrics
from pipeline.evaluation.judge import ClosedLoop, judge
from pipeline.evaluation.rollout import Loop
from pipeline.evaluation.trials import Trials
from pipeline.params import Params
from pipeline.robot.collision import CollisionChecker
from pipeline.robot.planner import Planner
from pipeline.robot.retime import Plan
from pipeline.runtime.limiter import Limiter

Array = NDArray[np.float64]
PLANS = 0xFA11
"""Separates the seed of these plans from those of the trials."""
REST_RAD = 1e-6
"""Largest change of a joint's command in a control step of an arm at rest, rad."""
STILL_RAD = 0.001
"""An arm stands still if no joint's command moves further than this times the number of control
steps, rad."""
CLOSER = (0.5, 0.25)
"""Shares of `collect.clearance_m` that are tried in turn, since the guard may have stopped the arm
nearer to an obstacle than plans come. Closer than the guard's least distance the servo's lag may
touch it."""


def takeover_steps(
    held: NDArray[np.bool_], away: NDArray[np.bool_], command: Array, least_steps: int
) -> NDArray[np.int64]:
    """Find the control step at which the planner takes over.

    Args:
        held: whether the guard held each robot. Shape (N, T).
        away: whether each robot was short of the grasp. Shape (N, T).
        command: joint positions sent to the servo, rad. Shape (N, T, J).
        least_steps: steps for which a robot must have been held, or still and away, without a
            break.

    Returns:
        The first step after them, in case of a hold the first one before which the arm is at rest,
        or −1 if there is none. Shape (N,).
    """
    steps = np.full(len(held), -1)
    holds, short = (np.zeros(len(held), dtype=np.int64) for _ in range(2))
    change = np.abs(np.diff(command, axis=1, prepend=command[:, :1])).max(axis=2)
    for step in range(held.shape[1]):
        at_rest = change[:, max(step - 1, 0)] <= REST_RAD
        recent = command[:, max(step - least_steps, 0) : step]
        still = np.ptp(recent, axis=1).max(axis=1) <= STILL_RAD * least_steps if step else at_rest
        ready = ((holds >= least_steps) & at_rest) | ((short >= least_steps) & still)
        steps[ready & (steps < 0)] = step
        holds = np.where(held[:, step], holds + 1, 0)
        short = np.where(away[:, step], short + 1, 0)
    return steps


def fall_back(
    loop: Loop, policy: ClosedLoop, trials: Trials, planner: Planner, params: Params
) -> dict[str, Any]:
    """Roll out the trials in which a robot got stuck, with the planner from there.

    Args:
        loop: the closed loop.
        policy: N judged rollouts of the policy, with the guard.
        trials: objects and obstacles of the rollouts.
        planner: the expert.
        params: sections robot, task, collect, execution and evaluate.

    Returns:
        JSON numbers for metrics.json: those of `closed_loop_summary` for all N trials with the
        fallback; `n_taken_over` and `n_without_plan`, numbers of trials in which the planner found
        a plan and found none; `taken_over`, the summary of the former. Empty if `execution` asks
        for no fallback or has no guard.
    """
    held = policy.rollouts.held
    if params.execution.fallback == "none" or held is None:
        return {}
    rate_hz = loop.simulator.rate_hz
    least = max(round(params.execution.fallback_after_s * rate_hz), 1)
    error, task = policy.error, params.task
    away = (error.cap_m > task.strict_m) | (error.angle_deg > task.strict_deg)
    steps = takeover_steps(held, away, policy.rollouts.command, least)
    planners = [planner, *(_closer_planner(params, share) for share in CLOSER)]
    plans: dict[int, Plan] = {}
    for trial in np.flatnonzero(steps >= 0).tolist():
        start = policy.rollouts.command[trial, steps[trial] - 1]
        plan = _plan(planners, trials, trial, start, params.evaluate.seed)
        if plan is not None:
            plans[trial] = plan
    counts = {
        "n_taken_over": len(plans),
        "n_without_plan": int((steps >= 0).sum()) - len(plans),
    }
    if not plans:
        return {**policy.summary, **counts, "taken_over": None}
    chosen = np.array(list(plans))
    commands = _commands(loop, policy.rollouts.command[chosen], steps[chosen], list(plans.values()))
    some = trials.of(chosen)
    checker = CollisionChecker(params.robot, params.task)
    taken = judge(loop.replay(commands, some), some, checker, params.task)
    return {**_combined(policy, taken, chosen, params), **counts, "taken_over": taken.summary}


def _closer_planner(params: Params, share: float) -> Planner:
    """Return a planner that keeps only a share of the clearance."""
    clearance_m = share * params.collect.clearance_m
    collect = params.collect.model_copy(update={"clearance_m": clearance_m})
    return Planner(params.robot, params.task, collect)


def _plan(
    planners: list[Planner], trials: Trials, trial: int, start: Array, seed: int
) -> Plan | None:
    for planner in planners:
        rng = np.random.default_rng(np.random.SeedSequence([seed, trial, PLANS]))
        planner.checker.place_obstacles(trials.around(trial))
        plan = planner.plan(trials.object_pos[trial], trials.object_axis[trial], rng, start)
        if plan is not None:
            return plan
    return None


def _commands(loop: Loop, sent: Array, steps: NDArray[np.int64], plans: list[Plan]) -> Array:
    """Continue sent commands (B, T, J) with plans from the given steps on, within the limits."""
    rate_hz, before = loop.simulator.rate_hz, sent.shape[1]
    # Every rollout has at least T steps after its takeover, as the policy had from home.
    total = before + int(steps.max())
    targets = np.concatenate([sent, np.repeat(sent[:, -1:], total + 1 - before, axis=1)], axis=1)
    for row, (step, plan) in enumerate(zip(steps.tolist(), plans, strict=True)):
        targets[row, step:] = plan.sample(np.arange(1, total + 2 - step) / rate_hz)
    limiter = Limiter(loop.model.limits, rate_hz)
    limiter.reset(np.tile(loop.model.home, (len(sent), 1)))
    return np.stack([limiter.step(*targets[:, t : t + 2].swapaxes(0, 1)) for t in range(total)], 1)


def _combined(
    policy: ClosedLoop, taken: ClosedLoop, chosen: NDArray[np.int64], params: Params
) -> dict[str, Any]:
    """Summarise all trials, with the fallback's rollouts instead of the policy's where it ran."""
    steps = policy.error.cap_m.shape[1]
    mixed = []
    for name in ("cap_m", "axis_m", "angle_deg"):
        values = getattr(policy.error, name).copy()
        values[chosen] = getattr(taken.error, name)[:, -steps:]
        mixed.append(values)
    collided = policy.collided.copy()
    collided[chosen] = taken.collided
    return metrics.closed_loop_summary(metrics.ReachError(*mixed), collided, params.task)

"""The closed loop: what a policy sees, what is executed, what is recorded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.evaluation import metrics
from pipeline.evaluation.disturbance import Disturbance
from pipeline.evaluation.judge import judge
from pipeline.evaluation.rollout import Array, Loop, Observations
from pipeline.evaluation.trials import Trials, expert_commands
from pipeline.params import Params
from pipeline.robot.arrangement import sample_object
from pipeline.robot.collision import CollisionChecker
from pipeline.robot.retime import Plan
from pipeline.robot.simulator import Simulator

STEPS = 70


def test_a_policy_that_knows_the_goal_reaches_it(
    params: Params, loop: Loop, trials: Trials
) -> None:
    goals = np.stack([plan.joint_pos[-1] for plan in trials.plans])

    def towards_goal(obs: Observations, noise: Observations) -> Array:
        now = obs[:, -1, :6].astype(np.float64)
        share = np.minimum(np.arange(1, 17) / 12, 1)[None, :, None]
        return now[:, None] + share * (goals - now)[:, None]

    # It asks for more than the limits allow, so it takes longer than a demonstration.
    rollouts = loop.run(towards_goal, trials, 150, seed=0)
    error = metrics.reach_error(
        rollouts.ee_pose,
        trials.object_pos[:, None],
        trials.object_axis[:, None],
        params.task.object_length_m,
    )
    assert error.cap_m[:, 0].min() > 0.05
    assert error.cap_m[:, -1].max() < 0.002


def test_the_observation_is_the_recorded_state(loop: Loop, trials: Trials) -> None:
    seen: list[Observations] = []

    def watch(obs: Observations, noise: Observations) -> Array:
        seen.append(obs)
        return np.repeat(obs[:, -1:, :6], 16, axis=1).astype(np.float64) + 0.01

    rollouts = loop.run(watch, trials, 24, seed=0)
    assert len(seen) == 3
    assert seen[0].shape == (3, 2, 25)
    assert np.array_equal(seen[0][:, 0], seen[0][:, 1]), "the first observation stands twice"
    assert seen[1][:, :, :6] == pytest.approx(rollouts.joint_pos[:, 6:8], abs=1e-6)
    assert seen[1][:, :, 12:19] == pytest.approx(rollouts.ee_pose[:, 6:8], abs=1e-6)
    assert seen[1][:, 0, 19:22] == pytest.approx(trials.object_pos, abs=1e-6)


def test_the_noise_depends_on_the_seed_alone(loop: Loop, trials: Trials) -> None:
    def drawn(seed: int, steps: int) -> Observations:
        noises: list[Observations] = []

        def keep(obs: Observations, noise: Observations) -> Array:
            noises.append(noise)
            return np.repeat(obs[:, -1:, :6], 16, axis=1).astype(np.float64)

        loop.run(keep, trials, steps, seed)
        return np.stack(noises)

    assert np.array_equal(drawn(1, 16), drawn(1, 24)[:2])
    assert not np.array_equal(drawn(1, 8), drawn(2, 8))


def test_a_late_policy_sees_what_was_true_earlier(loop: Loop, trials: Trials) -> None:
    seen: list[Observations] = []

    def watch(obs: Observations, noise: Observations) -> Array:
        seen.append(obs)
        return np.repeat(obs[:, -1:, :6], 16, axis=1).astype(np.float64) + 0.01

    rollouts = loop.run(watch, trials, 24, 0, Disturbance(latency_steps=2))
    assert np.array_equal(seen[0][:, 0], seen[0][:, 1]), "before the start nothing had happened"
    assert seen[1][:, :, :6] == pytest.approx(rollouts.joint_pos[:, 4:6], abs=1e-6)


def test_observations_are_a_policy_step_apart_at_any_control_rate(
    params: Params, loop: Loop, trials: Trials
) -> None:
    seen: list[Observations] = []

    def watch(obs: Observations, noise: Observations) -> Array:
        seen.append(obs)
        return np.repeat(obs[:, -1:, :6], 16, axis=1).astype(np.float64) + 0.01

    fast = replace(loop, simulator=Simulator(params.robot, 60.0, 8))
    rollouts = fast.run(watch, trials, 40, 0)
    assert seen[1][:, :, :6] == pytest.approx(rollouts.joint_pos[:, [13, 15]], abs=1e-6)
    odd = replace(loop, simulator=Simulator(params.robot, 45.0, 10))
    rollouts = odd.run(watch, trials, 24, 0)
    between = rollouts.joint_pos[:, 9:11].mean(axis=1)
    assert seen[-1][:, 0, :6] == pytest.approx(between, abs=1e-6)
    pose = loop.model.fk(between)
    assert seen[-1][:, 0, 12:15] == pytest.approx(pose[:, :3], abs=1e-6)


def test_commands_keep_the_limits_whatever_the_policy_asks(loop: Loop, trials: Trials) -> None:
    def wild(obs: Observations, noise: Observations) -> Array:
        return 3.0 * noise.astype(np.float64)

    rollouts = loop.run(wild, trials, 30, seed=0)
    report, model = rollouts.execution, loop.model
    assert report is not None
    assert report.clipped["acceleration"] > 0
    assert (rollouts.command <= model.upper + 1e-9).all()
    assert (rollouts.command >= model.lower - 1e-9).all()
    speed = np.diff(rollouts.command, axis=1) * 30.0
    assert (np.abs(speed) <= model.velocity_limits + 1e-7).all()
    change = np.diff(speed, axis=1) * 30.0
    assert (np.abs(change) <= model.acceleration_limits + 1e-5).all()


def test_the_expert_s_replay_is_the_ceiling_and_standing_still_the_floor(
    params: Params, loop: Loop, trials: Trials
) -> None:
    checker = CollisionChecker(params.robot, params.task)
    still = np.tile(loop.model.home, (3, STEPS, 1))
    for commands, expected in ((expert_commands(trials, 30.0, STEPS), 1.0), (still, 0.0)):
        rollouts = loop.replay(commands, trials)
        result = judge(rollouts, trials, checker, params.task)
        assert not result.collided.any()
        assert result.summary["success_5mm"] == expected


def test_noise_is_scaled_and_0_makes_the_policy_repeat_itself(loop: Loop, trials: Trials) -> None:
    def noises(scale: float) -> Observations:
        kept: list[Observations] = []

        def keep(obs: Observations, noise: Observations) -> Array:
            kept.append(noise)
            return np.repeat(obs[:, -1:, :6], 16, axis=1).astype(np.float64)

        execution = loop.execution.model_copy(update={"noise_scale": scale})
        replace(loop, execution=execution).run(keep, trials, 16, seed=0)
        return np.stack(kept)

    assert noises(1.0).std() == pytest.approx(1.0, abs=0.1)
    assert noises(0.25) == pytest.approx(noises(1.0) / 4)
    assert not noises(0.0).any()


def test_sixty_robots_together_do_what_each_does_alone(loop: Loop, params: Params) -> None:
    rng = np.random.default_rng(0)
    objects = [sample_object(params.task, rng) for _ in range(60)]
    position, axis = (np.stack(values) for values in zip(*objects, strict=True))
    plan = Plan(np.zeros(1), loop.model.home[None], np.zeros((1, 6)), np.zeros((1, 6)))
    noisy, mixing = Disturbance(noise_m=0.010, noise_deg=4.0), 0.1 * rng.standard_normal((25, 96))

    def react(obs: Observations, noise: Observations) -> Array:
        """Depends smoothly on everything that a policy sees."""
        step = np.tanh(obs[:, -1].astype(np.float64) @ mixing).reshape(-1, 16, 6)
        return obs[:, -1:, :6] + 0.1 * step + 0.01 * noise

    # Every outlier interrupts, so that noise makes each robot replan at times of its own.
    often = {"mode": "blend", "object_jump_m": 0.03, "object_jump_observations": 1}
    execution = loop.execution.model_copy(update=often)
    chosen = replace(loop, execution=execution)
    together = chosen.run(react, Trials(position, axis, (plan,) * 60, 60), 30, 3, noisy)
    assert together.execution is not None
    chunks = together.execution.border.sum(axis=1)
    assert chunks.min() < 10 < chunks.max(), "robots are interrupted at times of their own"
    for index in range(60):
        own = slice(index, index + 1)
        one = Trials(position[own], axis[own], (plan,), 1)
        alone = chosen.run(react, one, 30, 3 + index, noisy)
        assert alone.command[0] == pytest.approx(together.command[index], abs=1e-9)
        assert alone.motion[0] == pytest.approx(together.motion[index], abs=1e-9)


def test_a_repeated_rollout_is_that_of_every_arm(loop: Loop, trials: Trials) -> None:
    steps, number = 12, len(trials)
    commands = np.tile(loop.model.home + 0.05, (number, steps, 1))
    each = loop.replay(commands, trials)
    repeated = loop.replay(commands[:1], trials.first(1)).repeated(number)
    for name in ("joint_pos", "command", "ee_pose", "motion"):
        np.testing.assert_array_equal(getattr(repeated, name), getattr(each, name))

"""The closed loop: what a policy sees, what is executed, what is recorded."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline import metrics
from pipeline.evaluation.rollout import Array, Loop, Observations, collided
from pipeline.evaluation.trials import Trials, expert_commands
from pipeline.params import Params
from pipeline.robot.collision import CollisionChecker

STEPS = 70


def test_a_policy_that_knows_the_goal_reaches_it(
    params: Params, loop: Loop, trials: Trials
) -> None:
    goals = np.stack([plan.joint_pos[-1] for plan in trials.plans])

    def towards_goal(obs: Observations, noise: Observations) -> Array:
        now = obs[:, -1, :6].astype(np.float64)
        share = np.minimum(np.arange(1, 17) / 12, 1)[None, :, None]
        return now[:, None] + share * (goals - now)[:, None]

    rollouts = loop.run(towards_goal, trials, 100, seed=0)
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


def test_the_expert_s_replay_is_the_ceiling_and_standing_still_the_floor(
    params: Params, loop: Loop, trials: Trials
) -> None:
    checker = CollisionChecker(params.robot, params.task)
    still = np.tile(loop.model.home, (3, STEPS, 1))
    for commands, expected in ((expert_commands(trials, 30.0, STEPS), 1.0), (still, 0.0)):
        rollouts = loop.replay(commands, trials)
        error = metrics.reach_error(
            rollouts.ee_pose,
            trials.object_pos[:, None],
            trials.object_axis[:, None],
            params.task.object_length_m,
        )
        hits = collided(checker, rollouts, trials)
        assert not hits.any()
        summary = metrics.closed_loop_summary(error, hits, params.task)
        assert summary["success_5mm"] == expected


def test_a_dive_into_the_table_is_a_collision(params: Params, loop: Loop, trials: Trials) -> None:
    down = np.tile(loop.model.home, (3, STEPS, 1))
    down[:, :, 1] = np.linspace(loop.model.home[1], 1.6, STEPS)
    rollouts = loop.replay(down, trials)
    assert collided(CollisionChecker(params.robot, params.task), rollouts, trials).all()

"""Tests that whole motions are computed where an arm waits, and that one that arrives is taken."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from pipeline.clearance.objects import Objects
from pipeline.evaluation.execution import execution_summary, make_guard, make_rehearsal
from pipeline.evaluation.rollout import Loop
from pipeline.evaluation.trials import Trials
from pipeline.layout import Layout
from pipeline.obstacles import box
from pipeline.params import Params
from pipeline.robot.chain import policy_geometry
from pipeline.robot.covering import collision_geometry
from pipeline.robot.model import RobotModel
from pipeline.robot.retime import Plan
from pipeline.robot.simulator import Simulator
from pipeline.runtime.deployment import Deployment
from pipeline.runtime.rehearsal import MOST_CHUNKS, NOISY_CHUNKS, Rehearsal
from pipeline.runtime.session import Session

Array = NDArray[np.float64]
Float32 = NDArray[np.float32]
STEP_RAD = 0.05
GOAL = np.array([1.2, 0.0, 0.0, 0.0, 0.0, 0.0])
DETOUR = np.array([0.0, -1.0, 0.3, 0.0, 0.0, 0.0])
ONE = np.zeros(1, dtype=np.int64)


class Ways:
    """A policy that goes straight to a goal, or from noise above zero lifts the arm at first."""

    def __init__(self, params: Params) -> None:
        self.robot = RobotModel.from_params(params.robot)
        self.goal = self.robot.home + GOAL
        self.batches: list[int] = []

    def __call__(self, obs: Float32, noise: Float32) -> Array:
        self.batches.append(len(obs))
        now = obs[:, -1, :6].astype(np.float64)
        lifts = noise[:, 0, 0] > 0
        target = np.where(lifts[:, None], self.robot.home + GOAL / 4 + DETOUR, self.goal)
        way = target - now
        steps = np.arange(1, 17)[None, :, None] * STEP_RAD
        far = np.abs(way).max(axis=1)[:, None, None]
        return now[:, None] + way[:, None] * np.minimum(steps / np.maximum(far, 1e-9), 1.0)


class Case:
    def __init__(self, params: Params) -> None:
        settings = params.override("execution", rehearsals=8).execution
        self.policy = Ways(params)
        robot = self.policy.robot
        self.layout = Layout.from_params(params)
        self.rehearsal = Rehearsal(
            settings, policy_geometry(robot, params.task),
            collision_geometry(params.robot, params.task), robot.limits, self.layout, 16, 30.0,
        )  # fmt: skip
        tcp = robot.tcp(self.policy.goal)
        axis = -tcp.rotation[:, 2]
        position = tcp.translation - axis * params.task.object_length_m / 2
        self.free = Objects(position[None], axis[None])
        half_way = robot.fk(robot.home + GOAL / 2)[:3]
        self.blocked = replace(self.free, obstacles=box(half_way, (0.1, 0.1, 0.1))[None, None])
        self.rehearsal.reset(1)

    def obs(self, joint_pos: Array, before: Array | None = None) -> Float32:
        rows = np.zeros((1, 2, self.layout.state_dim), np.float32)
        where = self.layout.field("joint_pos").slice
        rows[0, 0, where] = joint_pos if before is None else before
        rows[0, 1, where] = joint_pos
        return rows

    def noise(self, obs: Float32, objects: Objects, step: int = 0) -> Float32:
        return self.rehearsal.noise(self.policy, obs, objects, ONE, ONE, step)


@pytest.fixture
def case(params: Params) -> Case:
    return Case(params)


def test_a_motion_that_arrives_is_left_as_it_is(case: Case) -> None:
    assert not case.noise(case.obs(case.policy.robot.home), case.free).any()
    assert set(case.policy.batches) == {1}, "no other motion is computed"
    assert NOISY_CHUNKS < len(case.policy.batches) < MOST_CHUNKS, "it ends where the arm rests"
    assert case.rehearsal.redirected.tolist() == [0]


def test_a_motion_into_an_obstacle_is_replaced_by_one_around_it(case: Case) -> None:
    home = case.policy.robot.home
    first = case.noise(case.obs(home), case.blocked)
    assert first[0, 0, 0] > 0, "this noise lifts the arm over the box"
    assert first.dtype == np.float32, "as the network takes it"
    assert case.rehearsal.redirected.tolist() == [1]
    moving = case.obs(home + 0.1, home)
    for _ in range(NOISY_CHUNKS - 1):
        np.testing.assert_array_equal(case.noise(moving, case.blocked), first)
    assert not case.noise(moving, case.blocked).any(), "the rest of the motion is the policy's own"


@pytest.mark.parametrize("steps", [1, 3])
def test_any_number_of_observations_will_do(case: Case, steps: int) -> None:
    home, goal = (case.obs(q) for q in (case.policy.robot.home, case.policy.goal))
    first = case.noise(home, case.blocked)
    case.rehearsal.reset(1)
    asked = len(case.policy.batches)
    assert not case.noise(np.repeat(goal[:, :1], steps, axis=1), case.blocked).any()
    assert len(case.policy.batches) == asked, "it is there"
    again = case.noise(np.repeat(home[:, :1], steps, axis=1), case.blocked)
    np.testing.assert_array_equal(again, first)


def test_of_several_motions_that_arrive_the_shortest_is_taken(case: Case) -> None:
    policy, home = case.policy, case.policy.robot.home

    def slow(obs: Float32, noise: Float32) -> Array:
        chunk = policy(obs, noise)
        higher = (noise[:, 0, 0] > 0) & (noise[:, 0, 1] > 0)
        chunk[higher] += np.linspace(0, 1, 16)[:, None] * [0, 0, 0, 0.4, 0, 0]
        return chunk

    chosen = case.rehearsal.noise(slow, case.obs(home), case.blocked, ONE, ONE, 0)
    assert chosen[0, 0, 0] > 0 > chosen[0, 0, 1]


def test_nothing_is_computed_while_the_arm_moves_or_is_there(case: Case) -> None:
    home, goal = case.policy.robot.home, case.policy.goal
    for obs, objects in (
        (case.obs(home + 0.01, home), case.blocked),
        (case.obs(goal), case.blocked),
        (case.obs(home), Objects.unknown(1)),
    ):
        assert not case.noise(obs, objects).any()
    assert not case.policy.batches


def test_where_no_motion_arrives_the_policy_is_left_alone_and_asked_again_later(
    case: Case,
) -> None:
    home = case.policy.robot.home
    shut = replace(case.free, obstacles=box(case.free.position[0], (0.3, 0.3, 0.3))[None, None])
    assert not case.noise(case.obs(home), shut).any()
    asked = len(case.policy.batches)
    for step in range(1, NOISY_CHUNKS):
        case.noise(case.obs(home), shut, step)
    assert len(case.policy.batches) == asked, "not at every chunk"
    assert case.noise(case.obs(home), case.blocked, NOISY_CHUNKS).any()


def test_an_arm_that_is_too_near_already_may_leave(case: Case) -> None:
    home = case.policy.robot.home
    beside = case.policy.robot.fk(home)[:3] - [0.09, 0.0, 0.04]
    rows = box(beside, (0.02, 0.02, 0.02))[None, None]
    motion = home + np.linspace(0, 1, 10)[:, None] * GOAL
    near = replace(case.free, obstacles=rows)
    assert case.rehearsal._is_free(motion[None], near).tolist() == [True]


def test_robots_do_not_depend_on_each_other(case: Case) -> None:
    home, blocked = case.policy.robot.home, case.blocked.obstacles[0]
    both = Objects(
        np.repeat(case.free.position, 2, axis=0), np.repeat(case.free.axis, 2, axis=0),
        np.stack([blocked, box([9.0, 9.0, 9.0], [0.1, 0.1, 0.1])[None]]),
    )  # fmt: skip
    case.rehearsal.reset(2)
    obs = np.repeat(case.obs(home), 2, axis=0)
    noise = case.rehearsal.noise(case.policy, obs, both, np.arange(2), np.array([0, 1]), 0)
    case.rehearsal.reset(1)
    np.testing.assert_array_equal(noise[:1], case.noise(case.obs(home), case.blocked))
    assert not noise[1].any()


def test_only_the_robots_that_were_redirected_are_counted(case: Case) -> None:
    both = Objects(
        np.repeat(case.free.position, 2, axis=0), np.repeat(case.free.axis, 2, axis=0),
        np.stack([case.blocked.obstacles[0], box([9.0] * 3, [0.1] * 3)[None]]),
    )  # fmt: skip
    case.rehearsal.reset(2)
    obs = np.repeat(case.obs(case.policy.robot.home), 2, axis=0)
    case.rehearsal.noise(case.policy, obs, both, np.arange(2), np.array([0, 1]), 0)
    np.testing.assert_array_equal(case.rehearsal.redirected, [1, 0], strict=True)


@pytest.mark.parametrize("seed", range(4))
def test_an_arm_is_there_if_place_and_direction_fit(case: Case, seed: int) -> None:
    robot, rng = case.policy.robot, np.random.default_rng(seed)
    joint_pos = robot.home + rng.uniform(-1, 1, 6)
    tcp = robot.tcp(joint_pos)
    sideways, along = tcp.rotation[:, 0], -tcp.rotation[:, 2]

    def asked(tilt_deg: float, off_m: float) -> bool:
        tilt = np.radians(tilt_deg)
        axis = np.cos(tilt) * along + np.sin(tilt) * sideways
        position = tcp.translation + off_m * sideways - case.rehearsal._offset_m * axis
        case.rehearsal.reset(1)
        case.policy.batches.clear()
        case.noise(case.obs(joint_pos), Objects(position[None], axis[None]))
        return bool(case.policy.batches)

    assert [asked(0, 0), asked(8, 0), asked(0, 0.009)] == [False] * 3
    assert [asked(12, 0), asked(-12, 0), asked(180, 0), asked(0, 0.011)] == [True] * 4


def test_an_arm_that_the_policy_leaves_at_rest_is_followed_until_noise_has_no_say(
    case: Case,
) -> None:
    batches: list[int] = []

    def stay(obs: Float32, noise: Float32) -> Array:
        batches.append(len(obs))
        return np.repeat(obs[:, -1:, :6].astype(np.float64), 16, axis=1)

    home = case.obs(case.policy.robot.home)
    assert not case.rehearsal.noise(stay, home, case.blocked, ONE, ONE, 0).any()
    assert batches == [1] * (NOISY_CHUNKS + 1) + [8] * (NOISY_CHUNKS + 1)


def test_every_one_of_many_obstacles_counts(case: Case) -> None:
    rows = np.concatenate(
        [np.repeat(box([9.0] * 3, [0.1] * 3)[None], 13, axis=0), case.blocked.obstacles[0]]
    )
    assert case.noise(
        case.obs(case.policy.robot.home), replace(case.free, obstacles=rows[None])
    ).any()


def test_it_needs_a_guard_and_no_noise_of_its_own(params: Params) -> None:
    execution = params.override(
        "execution", guard="repair", rehearsals=4, noise_scale=0.0
    ).execution
    assert Rehearsal.is_on(execution)
    for change in (
        {"mode": "ensemble"},
        {"guard": "off"},
        {"guard": "check"},
        {"rehearsals": 0},
        {"noise_scale": 1.0},
    ):
        assert not Rehearsal.is_on(execution.model_copy(update=change))


class Carried:
    """`Ways` as a backend, with what a policy carries."""

    rate_hz, deployment = 30.0, None

    def __init__(self, params: Params) -> None:
        self.policy, self.layout = Ways(params), Layout.from_params(params)
        self.config: dict[str, Any] = {
            "horizon": 16, "n_obs_steps": 2,
            "geometry": policy_geometry(self.policy.robot, params.task).to_dict(),
            "collision": collision_geometry(params.robot, params.task).to_dict(),
        }  # fmt: skip

    def predict(self, obs: ArrayLike, noise: ArrayLike) -> Float32:
        chunk = self.policy(np.asarray(obs, np.float32), np.asarray(noise, np.float32))
        return chunk.astype(np.float32)


@pytest.mark.parametrize("rehearsals", [8, 0])
def test_a_session_and_evaluation_go_around_an_obstacle_alike(
    case: Case, params: Params, rehearsals: int
) -> None:
    changed = params.override("execution", guard="repair", guard_samples=0, rehearsals=rehearsals)
    backend, robot, rows = Carried(changed), case.policy.robot, case.blocked.obstacles[0]
    simulator = Simulator(changed.robot, 30.0, changed.evaluate.physics_steps)
    loop = Loop(
        simulator, robot, backend.layout, 16, 2, changed.execution, 30.0,
        make_guard(changed, robot), 0,
        make_rehearsal(changed, robot, backend.layout, 16, 30.0),
    )  # fmt: skip
    plan = Plan(np.zeros(1), robot.home[None], np.zeros((1, 6)), np.zeros((1, 6)))
    trials = Trials(case.free.position, case.free.axis, (plan,), 1, (rows,))
    rollouts = loop.run(backend.predict, trials, 110, seed=3)
    assert np.abs(rollouts.joint_pos[0, -1] - case.policy.goal).max() < 0.01
    over = robot.fk(rollouts.joint_pos[0])[:, 2].max() - robot.fk(robot.home)[2]
    assert (over > 0.06) == (rehearsals > 0), "the arm is lifted over the box, m"
    redirected = execution_summary(rollouts, 30.0)["redirected"]
    assert redirected == (1 if rehearsals else None)

    session = Session(backend, Deployment.from_params(changed.execution, robot.limits), seed=3)
    simulator.reset(robot.home[None])
    joint_pos, sent, asked = robot.home, [], []
    seen = {"pen_pos": case.free.position[0], "pen_axis": case.free.axis[0], "obstacles": rows}
    for _ in range(110):
        asked.append(session.may_rehearse)
        sent.append(session.act({"joint_pos": joint_pos, **seen}))
        joint_pos = simulator.run(sent[-1][None, None])[0][0, -1]
    np.testing.assert_allclose(sent, rollouts.command[0], atol=1e-5)
    assert asked[0] == (rehearsals > 0) and not any(asked[1:24]), "nothing while it moves"
    assert any(asked[24:]) == (rehearsals > 0), "at rest it may look again whether it has arrived"
    counted = session.report().redirected
    assert (None if counted is None else counted.tolist()) == ([1] if rehearsals else None)

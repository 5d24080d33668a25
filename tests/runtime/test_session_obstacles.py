"""Obstacles that a robot passes to `act`: seen by the policy, and checked by the guard."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from pipeline.collision_geometry import CollisionGeometry
from pipeline.evaluation.rollout import Loop
from pipeline.evaluation.trials import Trials
from pipeline.layout import Layout
from pipeline.obstacles import ObstacleError, box, sphere
from pipeline.params import Params
from pipeline.policy.checkpoint import Checkpoint
from pipeline.robot.collision import CollisionChecker
from pipeline.robot.covering import collision_geometry
from pipeline.robot.model import RobotModel
from pipeline.robot.retime import Plan
from pipeline.robot.simulator import Simulator
from pipeline.runtime.backends.onnx_runtime import OnnxRuntimePolicy
from pipeline.runtime.deployment import Deployment
from pipeline.runtime.guard.carried import carried_guard
from pipeline.runtime.session import RobotPolicy, Session
from tests.fixtures.policy import SLOTS, make_geometry

Array = NDArray[np.float64]
PEN = {"pen_pos": np.array([0.45, 0.0, 0.1]), "pen_axis": np.array([0.0, 0.0, 1.0])}
POST = box([0.25, 0.25, 0.70], [0.06, 0.06, 0.10], [0, 0, np.sin(0.3), np.cos(0.3)])
"""It stands where `Turning` turns the gripper to."""


@pytest.fixture(scope="module")
def robot(params: Params) -> RobotModel:
    return RobotModel.from_params(params.robot)


@pytest.fixture(scope="module")
def checker(params: Params) -> CollisionChecker:
    return CollisionChecker(params.robot, params.task)


@pytest.fixture(scope="module")
def seeing_backend(seeing: tuple[Checkpoint, Path]) -> OnnxRuntimePolicy:
    return OnnxRuntimePolicy(seeing[1])


def _deployment(params: Params, robot: RobotModel, **changes: Any) -> Deployment:
    return Deployment.from_params(params.override("execution", **changes).execution, robot.limits)


class Turning:
    """A policy that turns the first joint at 0.9 rad/s, whatever it sees."""

    def __init__(self, params: Params, layout: Layout) -> None:
        shapes: CollisionGeometry = collision_geometry(params.robot, params.task)
        self.layout, self.rate_hz = layout, 30.0
        self.deployment: Deployment | None = None
        self.config: dict[str, Any] = {
            "horizon": 16, "n_obs_steps": 2, "geometry": make_geometry(params).to_dict(),
            "collision": shapes.to_dict(),
        }  # fmt: skip
        self.widths: set[int] = set()

    def predict(self, obs: ArrayLike, noise: ArrayLike) -> NDArray[np.float32]:
        """Chunks from the present joint positions."""
        seen = np.asarray(obs, np.float32)
        self.widths.add(seen.shape[-1])
        chunk = np.repeat(seen[:, -1:, :6], 16, axis=1)
        chunk[..., 0] += 0.03 * np.arange(1, 17, dtype=np.float32)
        return chunk


def _drive(
    session: Session, start: Array, steps: int, obstacles: Any = (), since: int = 0
) -> Array:
    """Commands to an arm that follows them exactly, among obstacles from a step on. (T, J)."""
    sent = [start]
    for step in range(steps):
        around = obstacles if step >= since else ()
        sent.append(session.act({"joint_pos": sent[-1], **PEN, "obstacles": around}))
    return np.array(sent)


def _contact(checker: CollisionChecker, motion: Array, obstacles: Array) -> Any:
    checker.place_obstacles(obstacles)
    found = checker.first_contact(motion, PEN["pen_pos"], PEN["pen_axis"])
    checker.place_obstacles(np.zeros((0, 12)))
    return found


def _arrangements(robot: RobotModel) -> tuple[Array, ...]:
    """Three arrangements around the gripper at home, each with another number of obstacles."""
    x, y, z = robot.fk(robot.home)[:3]
    ball, cube = sphere([x, y + 0.09, z], 0.06), box([x + 0.02, y - 0.12, z], [0.1] * 3)
    three = np.stack([cube, sphere([x + 0.12, y, z + 0.02], 0.06), POST])
    return ball[None], np.zeros((0, 12)), three


@pytest.mark.parametrize(
    ("mode", "samples", "chosen"),
    [("chunk", 0, (0, 1, 2)), ("blend", 0, (0, 1, 2)), ("ensemble", 0, (0, 1, 2)),
     ("blend", 16, (2,)), ("blend", 16, (0, 1, 2))],
)  # fmt: skip
def test_sessions_send_what_evaluation_sends_among_obstacles(
    params: Params, robot: RobotModel, seeing_backend: OnnxRuntimePolicy, mode: str, samples: int,
    chosen: tuple[int, ...],
) -> None:  # fmt: skip
    # Repairing sixteen samples takes seconds where the arm goes on into the obstacles.
    backend, number, steps = seeing_backend, len(chosen), 12 if samples else 30
    # The robot among three obstacles has seed 5, with which its guard takes another sample.
    first = 5 - chosen.index(2)
    changes = {"mode": mode, "noise_scale": 0.5, "guard": "repair", "guard_samples": samples}
    execution = params.override("execution", **changes).execution
    deployment = Deployment.from_params(execution, robot.limits)
    guard = carried_guard(execution, backend.config, robot.joints, robot.limits)
    simulator = Simulator(params.robot, 30.0, params.evaluate.physics_steps)
    loop = Loop(simulator, robot, backend.layout, 16, 2, execution, 30.0, guard, SLOTS)
    plan = Plan(np.zeros(1), robot.home[None], np.zeros((1, 6)), np.zeros((1, 6)))
    around = tuple(_arrangements(robot)[index] for index in chosen)
    position, axis = (np.tile(PEN[name], (number, 1)) for name in ("pen_pos", "pen_axis"))
    trials = Trials(position, axis, (plan,) * number, number, around)
    rollouts = loop.run(backend.predict, trials, steps, seed=first)

    sessions = [Session(backend, deployment, seed=first + index) for index in range(number)]
    joint_pos, joint_vel, sent = np.tile(robot.home, (number, 1)), np.zeros((number, 6)), []
    simulator.reset(joint_pos)
    for _ in range(steps):
        commands = [
            session.act({"joint_pos": q, "joint_vel": v, **PEN, "obstacles": rows})
            for session, q, v, rows in zip(sessions, joint_pos, joint_vel, around, strict=True)
        ]
        sent.append(commands)
        measured, velocity = simulator.run(np.array(commands)[:, None])
        joint_pos, joint_vel = measured[:, -1], velocity[:, -1]
    np.testing.assert_allclose(np.stack(sent, axis=1), rollouts.command, atol=1e-5)
    assert rollouts.execution is not None
    report = rollouts.execution.guard
    assert report is not None
    for index, session in enumerate(sessions):
        alone = session.report().guard
        assert alone is not None
        assert {v: int(n[0]) for v, n in alone.counts.items()} == {
            verdict: int(count[index]) for verdict, count in report.counts.items()
        }
    if samples:
        assert report.total()["resampled"] > 0
    # The obstacles matter: without them the robots would have been sent elsewhere.
    free = loop.run(backend.predict, replace(trials, obstacles=()), steps, seed=first)
    differs = np.abs(free.command - rollouts.command).max(axis=(1, 2))
    assert (differs > 1e-4).tolist() == [len(rows) > 0 for rows in around]


def test_the_guard_sees_obstacles_that_the_policy_does_not(
    params: Params, layout: Layout, robot: RobotModel, checker: CollisionChecker
) -> None:
    policy = Turning(params, layout)
    deployment = _deployment(params, robot)
    free = _drive(Session(policy, deployment), robot.home, 60)
    assert _contact(checker, free, POST[None]) is not None  # it stands in the way
    session = Session(policy, deployment)
    sent = _drive(session, robot.home, 60, POST[None])
    assert _contact(checker, sent, POST[None]) is None
    assert policy.widths == {25}
    report = session.report().guard
    assert report is not None
    assert report.total()["repaired"] + report.total()["held"] > 0
    assert session.finding is not None
    assert report.worst[0].second == "obstacle 1"
    # A mapping is as good as a row, and there may be any number.
    mapping = {"centre_m": POST[:3], "size_m": 2 * POST[7:10], "quaternion": POST[3:7]}
    elsewhere = [{"centre_m": [0.0, -1.0, z], "radius_m": 0.05} for z in np.linspace(0, 1, 12)]
    again = _drive(Session(policy, deployment), robot.home, 60, [mapping, *elsewhere])
    np.testing.assert_allclose(again, sent, atol=1e-9)


def test_a_chunk_is_replaced_if_the_arm_could_not_stop_before_the_next_one(
    params: Params, robot: RobotModel
) -> None:
    # The policy knows of no object; the guard sees the obstacles all the same.
    layout = Layout.build(robot.joints, "pen", ("joint_pos", "joint_vel"))
    deployment, joint_pos = _deployment(params, robot), robot.home.copy()
    joint_pos[0] += 0.2
    session, found = Session(Turning(params, layout), deployment), []
    for _ in range(2 * deployment.execution.execute_steps):
        joint_pos = session.act({"joint_pos": joint_pos, "obstacles": POST[None]})
        assert session.finding is not None
        found.append(session.finding.verdict)
    # A stop behind the first chunk's last row would touch the post, one behind the rows that are
    # sent does not. It is too late for that in the second chunk.
    assert list(dict.fromkeys(found)) == ["free", "repaired"]
    assert found.count("free") == deployment.execution.execute_steps


def test_without_obstacles_commands_are_what_they_are_without_the_key(
    params: Params, layout: Layout, robot: RobotModel
) -> None:
    deployment = _deployment(params, robot)
    with_key = _drive(Session(Turning(params, layout), deployment), robot.home, 20)
    session, sent = Session(Turning(params, layout), deployment), [robot.home]
    for _ in range(20):
        sent.append(session.act({"joint_pos": sent[-1], **PEN}))
    np.testing.assert_array_equal(sent, with_key)


def test_a_box_that_appears_in_the_way_is_noticed_in_mid_chunk(
    params: Params, layout: Layout, robot: RobotModel, checker: CollisionChecker
) -> None:
    policy, deployment = Turning(params, layout), _deployment(params, robot)
    steps = deployment.execution.execute_steps
    assert steps > 3
    free = _drive(Session(policy, deployment), robot.home, 60)
    found = _contact(checker, free, POST[None])
    assert found is not None
    # It appears two steps after a chunk was started, and ten steps before the arm touches it.
    appears = (found[0] - 10) // steps * steps + 2
    session = Session(policy, deployment)
    sent = _drive(session, robot.home, 60, POST[None], since=appears)
    np.testing.assert_array_equal(sent[: appears + 1], free[: appears + 1])
    assert _contact(checker, sent, POST[None]) is None
    borders = np.flatnonzero(np.ravel(session.report().border))
    assert appears in borders
    assert appears - 2 in borders


@pytest.mark.parametrize(("moved_m", "asks"), [(0.0005, False), (0.002, True)])
def test_obstacles_that_move_ask_for_a_new_chunk_and_those_that_tremble_do_not(
    params: Params, robot: RobotModel, seeing_backend: OnnxRuntimePolicy, moved_m: float,
    asks: bool,
) -> None:  # fmt: skip
    session = Session(seeing_backend, _deployment(params, robot, guard="off"))
    rows = np.stack([POST, sphere([0.6, -0.3, 0.3], 0.05)])
    seen = {"joint_pos": robot.home, **PEN}
    moved = rows[::-1].copy()  # another order is no change
    moved[0, 2] += moved_m
    for around in (rows, rows, moved, moved):
        session.act({**seen, "obstacles": around})
    assert np.ravel(session.report().border).tolist() == [True, False, asks, False]


def test_slow_obstacles_are_compared_with_those_that_the_chunk_was_checked_against(
    params: Params, robot: RobotModel, seeing_backend: OnnxRuntimePolicy
) -> None:
    session = Session(seeing_backend, _deployment(params, robot, guard="off"))
    for step in range(4):
        row = sphere([0.6, -0.3, 0.3 + 0.0004 * step], 0.05)
        session.act({"joint_pos": robot.home, **PEN, "obstacles": row[None]})
    assert np.ravel(session.report().border).tolist() == [True, False, False, True]


def test_the_history_and_raw_chunks_include_the_obstacles(
    params: Params, robot: RobotModel, seeing_backend: OnnxRuntimePolicy
) -> None:
    policy = RobotPolicy(seeing_backend, "onnxruntime", _deployment(params, robot))
    seen = {"joint_pos": robot.home, **PEN}
    policy.act(seen)
    plain = policy.history()
    assert plain.shape == (2, 25 + 12 * SLOTS)
    np.testing.assert_array_equal(policy.predict(plain), policy.predict(plain[:, :25]))
    policy.act({**seen, "obstacles": POST[None]})
    around = policy.history()
    np.testing.assert_array_equal(around[:, 25:37], np.tile(POST.astype(np.float32), (2, 1)))
    found = policy.predict(around[None])
    np.testing.assert_array_equal(found, policy.predict(around[None, :, :25], obstacles=[POST]))
    assert np.abs(found - policy.predict(plain[None])).max() > 1e-4
    policy.act(seen)  # an absent key means that there are none
    np.testing.assert_array_equal(policy.history()[:, 25:], plain[:, 25:])
    policy.reset()
    assert policy.finding is None


def test_obstacles_that_cannot_be_used_are_refused_and_nothing_is_kept(
    params: Params, robot: RobotModel, seeing_backend: OnnxRuntimePolicy
) -> None:
    deployment = _deployment(params, robot)
    session = Session(seeing_backend, deployment)
    seen = {"joint_pos": robot.home, **PEN}
    for wrong, words in (
        (np.tile(POST, (SLOTS + 1, 1)), f"{SLOTS + 1} obstacles; expected {SLOTS} at most"),
        ([{"centre_m": [0, 0, 0]}], "size_m"),
        (np.zeros((1, 3)), r"shape \(1, 3\)"),
    ):
        with pytest.raises(ObstacleError, match=words):
            session.act({**seen, "obstacles": wrong})
    fresh = Session(seeing_backend, deployment)
    np.testing.assert_array_equal(session.act(seen), fresh.act(seen))

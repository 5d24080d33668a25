"""The robot's loop: the same as evaluation's, and clear about what it is given."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from pipeline.evaluation.disturbance import Disturbance, Sensor
from pipeline.evaluation.rollout import Loop
from pipeline.evaluation.trials import Trials
from pipeline.layout import Layout
from pipeline.params import Params
from pipeline.policy.checkpoint import Checkpoint
from pipeline.policy.observation import ObservationError
from pipeline.robot.model import RobotModel
from pipeline.robot.retime import Plan
from pipeline.robot.simulator import Simulator
from pipeline.runtime.backends.onnx_runtime import OnnxRuntimePolicy
from pipeline.runtime.deployment import Deployment, DeploymentError
from pipeline.runtime.session import RobotPolicy, Session

Array = NDArray[np.float64]
OBSERVATION = {
    "joint_pos": np.array([0.0, -0.3, 0.8, 0.0, 1.57, 0.0]),
    "pen_pos": np.array([0.4, 0.05, 0.2]),
    "pen_axis": np.array([0.0, 0.0, 1.0]),
}


@pytest.fixture(scope="module")
def robot(params: Params) -> RobotModel:
    return RobotModel.from_params(params.robot)


@pytest.fixture(scope="module")
def deployment(params: Params, robot: RobotModel) -> Deployment:
    # With noise, so that tests can see where it comes from.
    execution = params.override("execution", noise_scale=1.0).execution
    return Deployment.from_params(execution, robot.limits)


@pytest.fixture(scope="module")
def backend(exported: tuple[Checkpoint, Path]) -> OnnxRuntimePolicy:
    return OnnxRuntimePolicy(exported[1])


def _seen(step: int, position: Array, axis: Array) -> tuple[Array, Array]:
    """What a sensor shows at a step: objects that wobble by 4 mm and 2 degrees. Shapes (N, 3)."""
    phase = step * np.array([1.0, 1.7, 2.3]) + np.arange(len(position))[:, None]
    tilted = axis + 0.03 * np.sin(phase + 1)
    return position + 0.004 * np.sin(phase), tilted / np.linalg.norm(tilted, axis=-1)[:, None]


@pytest.mark.parametrize("control_hz", [30.0, 50.0])
@pytest.mark.parametrize("mode", ["chunk", "blend", "ensemble"])
@pytest.mark.parametrize(("number", "noise_scale"), [(1, 0.5), (3, 0.0)])
def test_sessions_send_what_evaluation_sends_as_objects_wobble_and_are_moved(
    params: Params,
    robot: RobotModel,
    backend: OnnxRuntimePolicy,
    deployment: Deployment,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    noise_scale: float,
    mode: str,
    control_hz: float,
) -> None:
    execution = params.override("execution", mode=mode, noise_scale=noise_scale).execution
    simulator = Simulator(params.robot, control_hz, params.evaluate.physics_steps)
    loop = Loop(simulator, robot, Layout.from_params(params), 16, 2, execution, 30.0)
    plan = Plan(np.zeros(1), robot.home[None], np.zeros((1, 6)), np.zeros((1, 6)))
    position = OBSERVATION["pen_pos"] + 0.02 * np.arange(number)[:, None]
    axis = np.repeat(OBSERVATION["pen_axis"][None], number, axis=0)
    trials = Trials(position, axis, (plan,) * number, number)
    moved = replace(trials, object_pos=position + 0.06)
    start = robot.home + 0.02 * np.arange(number)[:, None]
    disturbance = Disturbance(moves_at_s=0.4)
    states = itertools.count()
    monkeypatch.setattr(Sensor, "observe", lambda _, *pose: _seen(next(states), *pose))
    rollouts = loop.run(
        backend.predict, trials, 40, seed=3, disturbance=disturbance, start=start, moved=moved
    )

    chosen = Deployment.from_params(execution, deployment.limits)
    sessions = [Session(backend, chosen, seed=3, control_hz=control_hz) for _ in range(number)]
    simulator.reset(start)
    joint_pos, joint_vel, sent = start, np.zeros((number, 6)), []
    for step in range(40):
        # The first observation is made before the first command.
        here = moved if step - 1 >= 0.4 * control_hz else trials
        pens = _seen(step, here.object_pos, here.object_axis)
        commands = [
            session.act({"joint_pos": q, "joint_vel": v, "pen_pos": p, "pen_axis": a})
            for session, q, v, p, a in zip(sessions, joint_pos, joint_vel, *pens, strict=True)
        ]
        sent.append(commands)
        measured, velocity = simulator.run(np.array(commands)[:, None])
        joint_pos, joint_vel = measured[:, -1], velocity[:, -1]
    # The graph computes its own ee_pose, so that leaving it out changes nothing.
    # Robots of a batch are computed in another order of sums, in float32.
    atol = 1e-6 if number == 1 else 1e-5
    np.testing.assert_allclose(np.stack(sent, axis=1), rollouts.command, atol=atol)
    if mode != "ensemble":
        # The moved object was noticed: a chunk came out of turn.
        borders = np.flatnonzero(np.ravel(sessions[0].report().border))
        assert len(set(np.diff(borders))) > 1


def test_a_reset_forgets_everything_and_sessions_share_nothing(
    backend: OnnxRuntimePolicy, deployment: Deployment
) -> None:
    policy = RobotPolicy(backend, "onnxruntime", deployment, seed=1)
    first = [policy.act(OBSERVATION) for _ in range(9)]
    other = policy.session(seed=1)
    moved = {**OBSERVATION, "pen_pos": np.array([0.3, 0.1, 0.3])}
    policy.act(moved)
    np.testing.assert_array_equal([other.act(OBSERVATION) for _ in range(9)], first)
    policy.reset()
    np.testing.assert_array_equal([policy.act(OBSERVATION) for _ in range(9)], first)
    policy.reset(seed=2)
    assert not np.array_equal([policy.act(OBSERVATION) for _ in range(9)], first)


def test_the_state_vector_does_as_well_as_names(
    backend: OnnxRuntimePolicy, deployment: Deployment
) -> None:
    named, packed = (Session(backend, deployment) for _ in range(2))
    state = backend.layout.pack(
        {
            "joint_pos": OBSERVATION["joint_pos"],
            "joint_vel": np.zeros(6),
            "ee_pose": np.array([0.3, 0, 0.4, 1, 0, 0, 0]),
            "object_pos": OBSERVATION["pen_pos"],
            "object_axis": OBSERVATION["pen_axis"],
        }
    )
    np.testing.assert_allclose(packed.act(state), named.act(OBSERVATION), atol=1e-6)


def test_a_moved_object_asks_for_a_new_chunk_and_an_outlier_does_not(
    backend: OnnxRuntimePolicy, deployment: Deployment
) -> None:
    execution = replace(deployment.execution, object_jump_observations=2)
    policy = RobotPolicy(backend, "onnxruntime", replace(deployment, execution=execution))
    moved = {**OBSERVATION, "pen_pos": OBSERVATION["pen_pos"] + [0.05, 0.0, 0.0]}
    for seen in (OBSERVATION, moved, OBSERVATION, moved, moved):
        policy.act(seen)
    assert np.ravel(policy.report().border).tolist() == [True, False, False, False, True]


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"pen_pos": None}, DeploymentError, "lacks pen_pos; expected 3 numbers"),
        ({"joint_pos": None}, DeploymentError, "lacks joint_pos; expected 6 numbers"),
        ({"joint_pos": np.zeros(7)}, DeploymentError, r"joint_pos has shape \(7,\), expected \(6,"),
        ({"cup_pos": np.zeros(3)}, DeploymentError, "unknown to the policy: 'cup_pos'"),
        ({"pen_axis": np.array([0, 0, np.nan])}, ObservationError, "not finite in pen_axis"),
        ({"pen_axis": np.zeros(3)}, ObservationError, r"pen_axis has length 0, expected 1"),
        ({"pen_axis": np.full(3, 1e-9)}, ObservationError, r"pen_axis has length 1.7e-09"),
    ],
)
def test_what_is_wrong_with_an_observation_is_named(
    backend: OnnxRuntimePolicy,
    deployment: Deployment,
    change: dict[str, np.ndarray | None],
    error: type[Exception],
    words: str,
) -> None:
    session = Session(backend, deployment)
    given = {key: value for key, value in {**OBSERVATION, **change}.items() if value is not None}
    with pytest.raises(error, match=words):
        session.act(given)
    # Nothing of it was kept.
    np.testing.assert_array_equal(
        session.act(OBSERVATION), Session(backend, deployment).act(OBSERVATION)
    )


class Counting:
    """A policy without an arm: its actions count on from the first numbers that it sees."""

    rate_hz, deployment = None, None
    config: Mapping[str, Any] = {"horizon": 16, "n_obs_steps": 2}
    layout = Layout.generic({"points": 3}, 2)

    def predict(self, obs: ArrayLike, noise: ArrayLike) -> NDArray[np.float32]:
        """Chunks from the newest observation."""
        return np.asarray(obs, np.float32)[:, -1:, :2] + np.arange(1, 17, dtype=np.float32)[:, None]


def test_without_an_arm_the_first_action_is_the_policy_s_own(params: Params) -> None:
    session = Session(Counting(), Deployment.without_arm(params.execution, 2))
    for _ in range(2):
        sent = [session.act({"points": [100.0, 200.0, 300.0]}) for _ in range(3)]
        np.testing.assert_array_equal(sent, [[101, 201], [102, 202], [103, 203]])
        session.reset()


def test_a_state_vector_of_another_length_is_refused(
    backend: OnnxRuntimePolicy, deployment: Deployment
) -> None:
    with pytest.raises(DeploymentError, match=r"shape \(24,\), expected \(25,\)"):
        Session(backend, deployment).act(np.zeros(24))


def test_raw_chunks_need_no_noise(backend: OnnxRuntimePolicy, deployment: Deployment) -> None:
    policy = RobotPolicy(backend, "onnxruntime", deployment)
    obs = np.tile(backend.layout.pack({
        "joint_pos": OBSERVATION["joint_pos"], "joint_vel": np.zeros(6),
        "ee_pose": np.array([0, 0, 0, 0, 0, 0, 1.0]), "object_pos": OBSERVATION["pen_pos"],
        "object_axis": OBSERVATION["pen_axis"],
    }), (3, 2, 1))  # fmt: skip
    assert policy.predict(obs).shape == (3, 16, 6)
    np.testing.assert_array_equal(policy.predict(obs, seed=4), policy.predict(obs, seed=4))
    assert not np.array_equal(policy.predict(obs, seed=4), policy.predict(obs, seed=5))
    assert policy.predict(obs[0]).shape == (1, 16, 6)

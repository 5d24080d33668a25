"""The robot's loop: the same as evaluation's, and clear about what it is given."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.evaluation.rollout import Loop
from pipeline.evaluation.trials import Trials
from pipeline.kinematics import JointLimits
from pipeline.layout import Layout
from pipeline.params import Params
from pipeline.policy.checkpoint import Bundle
from pipeline.policy.observation import ObservationError
from pipeline.robot.model import RobotModel
from pipeline.robot.retime import Plan
from pipeline.robot.simulator import Simulator
from pipeline.runtime.backends.onnx_runtime import OnnxRuntimePolicy
from pipeline.runtime.session import Deployment, DeploymentError, Execution, RobotPolicy, Session

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
def backend(exported: tuple[Bundle, Path]) -> OnnxRuntimePolicy:
    return OnnxRuntimePolicy(exported[1])


@pytest.mark.parametrize("control_hz", [30.0, 50.0])
@pytest.mark.parametrize("mode", ["chunk", "blend", "ensemble"])
def test_a_session_sends_what_evaluation_sends(
    params: Params,
    robot: RobotModel,
    backend: OnnxRuntimePolicy,
    deployment: Deployment,
    mode: str,
    control_hz: float,
) -> None:
    execution = params.override("execution", mode=mode, noise_scale=0.5).execution
    simulator = Simulator(params.robot, control_hz, params.evaluate.physics_steps)
    layout = Layout.from_params(params)
    loop = Loop(simulator, robot, layout, 16, 2, execution, 30.0)
    plan = Plan(np.zeros(1), robot.home[None], np.zeros((1, 6)), np.zeros((1, 6)))
    position, axis = OBSERVATION["pen_pos"], OBSERVATION["pen_axis"]
    trials = Trials(position[None], axis[None], (plan,), 1)
    expected = loop.run(backend.predict, trials, 40, seed=3).command[0]

    chosen = replace(deployment, execution=Execution(**execution.model_dump()))
    session = Session(backend, chosen, seed=3, control_hz=control_hz)
    simulator.reset(robot.home[None])
    joint_pos, joint_vel, sent = robot.home, np.zeros(6), []
    for _ in range(40):
        seen = {**OBSERVATION, "joint_pos": joint_pos, "joint_vel": joint_vel}
        sent.append(session.act(seen))
        measured, velocity = simulator.run(sent[-1][None, None])
        joint_pos, joint_vel = measured[0, -1], velocity[0, -1]
    # The graph computes its own ee_pose, so that leaving it out changes nothing.
    np.testing.assert_allclose(sent, expected, atol=1e-6)


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


def test_a_moved_object_asks_for_a_new_chunk_at_once(
    backend: OnnxRuntimePolicy, deployment: Deployment
) -> None:
    policy = RobotPolicy(backend, "onnxruntime", deployment)
    for _ in range(2):
        policy.act(OBSERVATION)
    policy.act({**OBSERVATION, "pen_pos": np.array([0.5, -0.1, 0.3])})
    assert policy.report().border.tolist() == [[True, False, True]]


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"pen_pos": None}, DeploymentError, "lacks pen_pos, 3 numbers"),
        ({"joint_pos": None}, DeploymentError, "lacks joint_pos, 6 numbers"),
        ({"joint_pos": np.zeros(7)}, DeploymentError, r"joint_pos has shape \(7,\), expected \(6,"),
        ({"cup_pos": np.zeros(3)}, DeploymentError, "'cup_pos', which the policy does not know"),
        ({"pen_axis": np.array([0, 0, np.nan])}, ObservationError, "not finite, in pen_axis"),
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
    session.act(OBSERVATION)  # nothing of it was kept


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


def test_what_a_robot_must_know_survives_the_file(deployment: Deployment) -> None:
    lower = np.where(np.arange(6) == 5, -np.inf, deployment.limits.lower)
    upper = np.where(np.arange(6) == 5, np.inf, deployment.limits.upper)
    endless = replace(deployment, limits=replace(deployment.limits, lower=lower, upper=upper))
    again = Deployment.from_json(endless.to_json(), "policy.onnx")
    assert again.execution == endless.execution
    for key, values in vars(endless.limits).items():
        np.testing.assert_array_equal(getattr(again.limits, key), values)
    assert isinstance(again.limits, JointLimits)
    with pytest.raises(DeploymentError, match=r"policy\.onnx.*broken"):
        Deployment.from_json("{}", "policy.onnx")

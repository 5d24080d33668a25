"""Tests that checkpoint, graph, robot, server and evaluation all use the policy's guard."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from pipeline.collision_geometry import CollisionGeometry
from pipeline.evaluation.execution import guard_finding, guard_summary, make_guard
from pipeline.evaluation.rollout import Loop
from pipeline.evaluation.trials import Trials
from pipeline.export.graph import export_onnx
from pipeline.layout import Layout
from pipeline.params import Params
from pipeline.policy.checkpoint import Checkpoint, load_checkpoint, make_config, save_checkpoint
from pipeline.robot.covering import collision_geometry
from pipeline.robot.model import RobotModel
from pipeline.robot.retime import Plan
from pipeline.robot.simulator import Simulator
from pipeline.runtime.load import load_policy
from pipeline.runtime.session import Deployment, RobotPolicy
from pipeline.serving.client import PolicyClient
from tests.fixtures.serving import served

PEN = (np.array([0.345, 0.0, 0.677]), np.array([0.0, 0.0, 1.0]))
"""Position closer to a finger at home than the margin, so that the guard must act."""


@pytest.fixture(scope="module")
def guarded(params: Params) -> Params:
    return params.override("execution", guard="repair", guard_samples=4, noise_scale=0.5)


@pytest.fixture(scope="module")
def bundle_with_shapes(exported: tuple[Checkpoint, Path], params: Params) -> Checkpoint:
    bundle = exported[0]
    shapes = collision_geometry(params.robot, params.task)
    config = make_config(bundle.params, bundle.layout, bundle.geometry, 30.0, shapes)
    return replace(bundle, config=config)


@pytest.fixture(scope="module")
def graph(
    bundle_with_shapes: Checkpoint, guarded: Params, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("guarded") / "policy.onnx"
    limits = RobotModel.from_params(guarded.robot).limits
    deployment = Deployment.from_params(guarded.execution, limits)
    export_onnx(bundle_with_shapes, path, 18, {"deployment": deployment.to_json()})
    return path


def _observation(joint_pos: np.ndarray) -> dict[str, np.ndarray]:
    return {"joint_pos": joint_pos, "pen_pos": PEN[0], "pen_axis": PEN[1]}


def test_checkpoint_and_graph_carry_the_shapes(
    bundle_with_shapes: Checkpoint, graph: Path, params: Params, tmp_path: Path
) -> None:
    shapes = collision_geometry(params.robot, params.task)
    save_checkpoint(tmp_path / "best_model.pt", bundle_with_shapes)
    loaded = load_checkpoint(tmp_path / "best_model.pt").config["collision"]
    assert CollisionGeometry.from_dict(loaded) == shapes
    metadata = {entry.key: entry.value for entry in onnx.load(graph).metadata_props}
    assert CollisionGeometry.from_dict(json.loads(metadata["config"])["collision"]) == shapes


def _drive(policy: RobotPolicy, robot: RobotModel, steps: int) -> np.ndarray:
    joint_pos, sent = robot.home, []
    for _ in range(steps):
        joint_pos = policy.act(_observation(joint_pos))
        sent.append(joint_pos)
    return np.array(sent)


def test_a_loaded_policy_is_guarded_and_reports_it(graph: Path, guarded: Params) -> None:
    robot = RobotModel.from_params(guarded.robot)
    policy = load_policy(graph, "onnxruntime")
    assert policy.finding is None
    _drive(policy, robot, 30)
    report = policy.report().guard
    assert report is not None
    assert sum(report.total().values()) == 5
    assert report.total()["free"] < 5
    assert report.worst[0].verdict in ("repaired", "resampled", "held")
    assert policy.finding == report.last[0]


def test_a_policy_without_shapes_runs_unguarded_and_says_so(
    exported: tuple[Checkpoint, Path],
    guarded: Params,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Also true for an older export whose settings have no guard."""
    robot = RobotModel.from_params(guarded.robot)
    deployment = Deployment.from_params(guarded.execution, robot.limits)
    export_onnx(exported[0], tmp_path / "new.onnx", 18, {"deployment": deployment.to_json()})
    content = json.loads(deployment.to_json())
    content["execution"] = {
        key: value for key, value in content["execution"].items() if not key.startswith("guard")
    }
    export_onnx(exported[0], tmp_path / "old.onnx", 18, {"deployment": json.dumps(content)})
    with caplog.at_level(logging.INFO):
        policy = load_policy(tmp_path / "new.onnx", "onnxruntime")
        assert "carries no collision shapes" in caplog.text
        caplog.clear()
        load_policy(tmp_path / "old.onnx", "onnxruntime")
        assert "execution.guard is off" in caplog.text
    _drive(policy, robot, 2)
    assert policy.report().guard is None
    assert policy.finding is None


def test_a_session_sends_what_evaluation_sends(graph: Path, guarded: Params) -> None:
    """Also when the guard replaces chunks by alternative ones."""
    robot = RobotModel.from_params(guarded.robot)
    simulator = Simulator(guarded.robot, 30.0, guarded.evaluate.physics_steps)
    policy = load_policy(graph, "onnxruntime", seed=0)
    loop = Loop(
        simulator, robot, Layout.from_params(guarded), 16, 2, guarded.execution, 30.0,
        make_guard(guarded, robot),
    )  # fmt: skip
    plan = Plan(np.zeros(1), robot.home[None], np.zeros((1, 6)), np.zeros((1, 6)))
    trials = Trials(PEN[0][None], PEN[1][None], (plan,), 1)
    rollouts = loop.run(policy.backend.predict, trials, 40, seed=0)

    simulator.reset(robot.home[None])
    joint_pos, sent = robot.home, []
    for _ in range(40):
        sent.append(policy.act(_observation(joint_pos)))
        joint_pos = simulator.run(sent[-1][None, None])[0][0, -1]
    np.testing.assert_allclose(sent, rollouts.command[0], atol=1e-6)
    summary = guard_summary(rollouts)
    assert policy.report().guard is not None
    assert summary["chunks"] == policy.report().guard.total()
    assert summary["chunks"]["free"] < 7
    assert summary["reasons"]
    assert guard_finding(rollouts, 0) == str(policy.report().guard.worst[0])


def test_a_server_tells_its_client(graph: Path, guarded: Params) -> None:
    robot = RobotModel.from_params(guarded.robot)
    policy = load_policy(graph, "onnxruntime")
    with served(policy) as url, PolicyClient(url) as client:
        joint_pos, found = robot.home, []
        for _ in range(30):
            joint_pos = client.act(_observation(joint_pos))
            assert client.finding is not None
            found.append(client.finding.verdict)
        assert set(found) - {"free"}
        # A closed loop on the client checks its own chunks.
        here = client.closed_loop()
        here.act(_observation(robot.home))
        assert here.finding is not None

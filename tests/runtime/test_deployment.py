"""What an exported policy carries for the robot survives its file."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from pipeline.kinematics import JointLimits
from pipeline.params import Params
from pipeline.robot.model import RobotModel
from pipeline.runtime.deployment import Deployment, DeploymentError


def test_execution_and_limits_survive_the_file(params: Params) -> None:
    deployment = Deployment.from_params(
        params.execution, RobotModel.from_params(params.robot).limits
    )
    lower = np.where(np.arange(6) == 5, -np.inf, deployment.limits.lower)
    upper = np.where(np.arange(6) == 5, np.inf, deployment.limits.upper)
    endless = replace(deployment, limits=replace(deployment.limits, lower=lower, upper=upper))
    again = Deployment.from_json(endless.to_json(), "policy.onnx")
    assert again.execution == endless.execution
    for key, values in vars(endless.limits).items():
        np.testing.assert_array_equal(getattr(again.limits, key), values)
    assert isinstance(again.limits, JointLimits)


def test_broken_metadata_is_refused_with_the_file(params: Params) -> None:
    with pytest.raises(DeploymentError, match=r"policy\.onnx.*broken"):
        Deployment.from_json("{}", "policy.onnx")


def test_a_policy_of_an_earlier_export_acts_as_it_was_evaluated(params: Params) -> None:
    limits = RobotModel.from_params(params.robot).limits
    content = json.loads(Deployment.from_params(params.execution, limits).to_json())
    del content["execution"]["object_jump_observations"]
    again = Deployment.from_json(json.dumps(content), "policy.onnx")
    assert again.execution.object_jump_observations == 1


def test_without_an_arm_nothing_is_limited_or_checked(params: Params) -> None:
    made = Deployment.without_arm(params.execution, 2)
    again = Deployment.from_json(made.to_json(), "policy.onnx")
    assert again.execution == made.execution and again.execution.guard == "off"
    assert again.execution.execute_steps == params.execution.execute_steps
    for values in vars(again.limits).values():
        assert values.shape == (2,) and np.isinf(values).all()

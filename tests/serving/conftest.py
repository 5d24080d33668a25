"""Small parameters, a policy fitted to a small data set and loaded, and a certificate."""

from pathlib import Path

import pytest

from pipeline.params import Params
from pipeline.policy.checkpoint import Checkpoint
from pipeline.robot.model import RobotModel
from pipeline.runtime.deployment import Deployment
from pipeline.runtime.load import load_policy
from pipeline.runtime.session import RobotPolicy
from tests.fixtures.policy import *
from tests.fixtures.serving import *


@pytest.fixture(scope="module")
def policy(params: Params, exported: tuple[Checkpoint, Path]) -> RobotPolicy:
    execution = params.override("execution", noise_scale=1.0).execution
    deployment = Deployment.from_params(execution, RobotModel.from_params(params.robot).limits)
    return load_policy(exported[1], "onnxruntime", deployment=deployment)

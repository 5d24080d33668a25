"""The command serves, says where, and stops when it is told to."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.export.graph import export_onnx
from pipeline.layout import Layout
from pipeline.params import Params
from pipeline.policy.checkpoint import Checkpoint, make_config
from pipeline.policy.model import PolicyModel
from pipeline.robot.chain import policy_geometry
from pipeline.robot.model import RobotModel
from pipeline.runtime.deployment import Deployment
from pipeline.serving.client import PolicyClient
from pipeline.serving.security import TlsError
from pipeline.serving.server import ServeError
from pipeline.stages import serve
from tests.conftest import HANG_S

REPOSITORY = Path(__file__).parents[2]
OBSERVATION = {
    "joint_pos": np.array([0.0, -0.3, 0.8, 0.0, 1.57, 0.0]),
    "pen_pos": np.array([0.4, 0.0, 0.2]),
    "pen_axis": np.array([0.0, 0.0, 1.0]),
}


@pytest.fixture(scope="module")
def exported_small(params: Params, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as export leaves it, of an untrained policy."""
    small = params.override("policy", mlp_width=32, mlp_blocks=1, step_embedding=16)
    layout, robot = Layout.from_params(small), RobotModel.from_params(small.robot)
    geometry = policy_geometry(robot, small.task)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        weights = PolicyModel(small.policy, layout, geometry).state_dict()
    config = make_config(small.policy, layout, geometry, 30.0)
    checkpoint = Checkpoint(
        weights, weights, config, {}, layout, torch.zeros(1, 2, layout.state_dim)
    )
    deployment = Deployment.from_params(small.execution, robot.limits)
    folder = tmp_path_factory.mktemp("export")
    export_onnx(checkpoint, folder / "policy.onnx", 18, {"deployment": deployment.to_json()})
    return folder


@pytest.mark.parametrize("workers", [1, 2])
def test_it_serves_until_it_is_stopped(exported_small: Path, workers: int) -> None:
    command = [sys.executable, "-m", "pipeline", "serve", "--port", "0", "--workers", str(workers)]
    with subprocess.Popen(
        [*command, "--model", str(exported_small)],
        cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, env={**os.environ, "COLUMNS": "300"},
    ) as child:  # fmt: skip
        try:
            assert child.stdout is not None
            line = child.stdout.readline()
            assert "onnxruntime" in line
            with PolicyClient(line.partition(" at ")[2].split()[0]) as client:
                assert client.act(OBSERVATION).shape == (6,)
                child.send_signal(signal.SIGTERM)
                assert child.wait(HANG_S) == 0
            assert "Stopped" in child.stdout.read()
        finally:
            child.kill()


def test_a_certificate_that_is_missing_is_named(exported_small: Path, tmp_path: Path) -> None:
    with pytest.raises(TlsError, match=r"cert\.pem: no such file"):
        serve.run(
            exported_small, "127.0.0.1", 0, "onnxruntime", None,
            tmp_path / "cert.pem", tmp_path / "key.pem",
        )  # fmt: skip


def test_a_port_that_is_taken_is_named(exported_small: Path) -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        # Also where the other server would share it: it serves another policy.
        for workers in (1, 2):
            with pytest.raises(ServeError, match=f"cannot listen on 127.0.0.1:{port}"):
                serve.run(exported_small, "127.0.0.1", port, "onnxruntime", None, workers=workers)

"""Small parameters and a small synthetic data set: straight joint motions towards a point."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.kinematics import Geometry
from pipeline.layout import Layout
from pipeline.params import Params, load_params
from pipeline.policy.bundle import Bundle, make_config
from pipeline.policy.model import PolicyModel
from pipeline.policy.onnx import export_onnx
from pipeline.robot.chain import policy_geometry
from pipeline.robot.model import RobotModel

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def params() -> Params:
    """The real parameters with networks of a few thousand weights."""
    loaded = load_params(REPOSITORY / "params.yaml")
    small = loaded.override("robot", urdf=REPOSITORY / loaded.robot.urdf)
    return small.override(
        "policy",
        mlp_width=32,
        mlp_blocks=2,
        unet_channels=(8, 16),
        unet_groups=4,
        transformer_width=32,
        transformer_layers=2,
        step_embedding=16,
        num_inference_steps=4,
    )


@pytest.fixture(scope="session")
def layout(params: Params) -> Layout:
    return Layout.from_params(params)


def make_geometry(params: Params) -> Geometry:
    return policy_geometry(RobotModel.from_params(params.robot), params.task)


@pytest.fixture(scope="session")
def geometry(params: Params) -> Geometry:
    return make_geometry(params)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def random_states(rng: np.random.Generator, layout: Layout, *shape: int) -> np.ndarray:
    """States whose quaternions and axes are unit vectors."""
    values = {
        field.kind: rng.normal(size=(*shape, field.size)).astype(np.float32)
        for field in layout.state
    }
    pose, axis = values["ee_pose"], values["object_axis"]
    pose[..., 3:] /= np.linalg.norm(pose[..., 3:], axis=-1, keepdims=True)
    axis /= np.linalg.norm(axis, axis=-1, keepdims=True)
    return layout.pack(values)


def training_states(rng: np.random.Generator, layout: Layout) -> torch.Tensor:
    """200 steps whose chunks lead about as far as real ones: half a radian, not five."""
    states = torch.from_numpy(random_states(rng, layout, 200))
    states[:, layout.field("joint_pos").slice] *= 0.2
    return states


@pytest.fixture
def fitted(params: Params, layout: Layout, rng: np.random.Generator) -> PolicyModel:
    """An untrained policy whose ranges are those of 200 random steps."""
    return make_fitted(params, layout, rng)


def make_fitted(params: Params, layout: Layout, rng: np.random.Generator) -> PolicyModel:
    torch.manual_seed(3)
    model = PolicyModel(params.policy, layout, make_geometry(params))
    states = training_states(rng, layout)
    actions = states[:, layout.field("joint_pos").slice] + 0.1 * torch.randn(200, 6)
    rows = torch.arange(180)[:, None]
    model.fit(
        states, actions, (rows + torch.arange(2), rows + torch.arange(16)), lambda *batch: batch
    )
    return model.eval()


def make_bundle(params: Params, layout: Layout) -> Bundle:
    rng = np.random.default_rng(2)
    weights = make_fitted(params, layout, rng).state_dict()
    examples = torch.from_numpy(random_states(rng, layout, 5, 2))
    config = make_config(params.policy, layout, make_geometry(params), 30.0)
    return Bundle(weights, dict(weights), config, {}, layout, examples)


@pytest.fixture
def bundle(params: Params, layout: Layout) -> Bundle:
    return make_bundle(params, layout)


@pytest.fixture(scope="session")
def exported(
    params: Params, layout: Layout, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Bundle, Path]:
    """A bundle and its policy.onnx, made once: an export takes seconds."""
    bundle = make_bundle(params, layout)
    path = tmp_path_factory.mktemp("onnx") / "policy.onnx"
    export_onnx(bundle, path, 18, {"checkpoint_sha256": "abc"})
    return bundle, path

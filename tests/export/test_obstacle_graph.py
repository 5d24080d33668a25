"""Graphs of policies that see obstacles do what torch does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from pipeline.export.graph import export_onnx
from pipeline.layout import Layout
from pipeline.obstacles import pad
from pipeline.params import Params
from pipeline.policy.checkpoint import Checkpoint
from pipeline.policy.observation import obstacle_slots, with_obstacles
from pipeline.runtime.backends.onnx_runtime import OnnxRuntimePolicy
from tests.fixtures.policy import SLOTS, make_checkpoint, random_obstacles, random_states

Predictions = np.ndarray


def _inputs(layout: Layout, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Observations among 0 to SLOTS obstacles, and noise."""
    rng = np.random.default_rng(11)
    around = [pad(random_obstacles(rng, i % (SLOTS + 1)), SLOTS) for i in range(number)]
    obs = with_obstacles(random_states(rng, layout, number, 2), np.stack(around))
    return obs, rng.standard_normal((number, 16, 6), dtype=np.float32)


def _differs(checkpoint: Checkpoint, path: Path) -> float:
    """Largest difference between ONNX Runtime and torch for batches of 1, 2 and 40, rad."""
    runtime, model = OnnxRuntimePolicy(path), checkpoint.build()
    obs, noise = _inputs(checkpoint.layout, 40)
    largest = 0.0
    for batch in (1, 2, 40):
        with torch.no_grad():
            expected = model(*map(torch.from_numpy, (obs[:batch], noise[:batch]))).numpy()
        found = runtime.predict(obs[:batch], noise[:batch])
        largest = max(largest, float(np.abs(found - expected).max()))
    return largest


def test_the_graph_of_a_policy_that_sees_obstacles_does_what_torch_does(
    seeing: tuple[Checkpoint, Path],
) -> None:
    assert _differs(*seeing) < 1e-5


@pytest.mark.parametrize(
    ("unrolled", "precision", "limit_rad"),
    [(True, "float32", 1e-5), (False, "float16", 5e-3)],
    ids=["unrolled", "float16"],
)
def test_so_do_its_other_forms(
    params: Params, layout: Layout, tmp_path: Path, unrolled: bool, precision: str, limit_rad: float
) -> None:
    checkpoint = make_checkpoint(params, layout, SLOTS)
    export_onnx(checkpoint, tmp_path / "policy.onnx", 18, {}, unrolled, precision)
    assert _differs(checkpoint, tmp_path / "policy.onnx") < limit_rad


@pytest.mark.parametrize(
    "values",
    [{"network": "unet"}, {"network": "transformer", "sampler": "mip", "num_inference_steps": 2}],
    ids=["unet", "transformer"],
)
@pytest.mark.slow
def test_so_do_other_networks(
    params: Params, layout: Layout, tmp_path: Path, values: dict[str, object]
) -> None:
    checkpoint = make_checkpoint(params.override("policy", **values), layout, SLOTS)
    export_onnx(checkpoint, tmp_path / "policy.onnx", 18, {})
    assert _differs(checkpoint, tmp_path / "policy.onnx") < 1e-5


def test_obstacles_are_a_third_input_and_the_metadata_describe_it(
    seeing: tuple[Checkpoint, Path],
) -> None:
    proto = onnx.load(str(seeing[1]))
    shapes = {
        value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in proto.graph.input
    }
    assert shapes == {
        "obs": ["batch", 2, 25], "noise": ["batch", 16, 6], "obstacles": ["batch", SLOTS, 12]
    }  # fmt: skip
    config = json.loads({entry.key: entry.value for entry in proto.metadata_props}["config"])
    assert obstacle_slots(config) == SLOTS
    assert config["geometry"] == seeing[0].config["geometry"]


def test_the_order_of_obstacles_does_not_matter_and_the_obstacles_do(
    seeing: tuple[Checkpoint, Path], layout: Layout, rng: np.random.Generator
) -> None:
    runtime = OnnxRuntimePolicy(seeing[1])
    states, noise = random_states(rng, layout, 1, 2), np.zeros((1, 16, 6), np.float32)
    rows = random_obstacles(rng, SLOTS)

    def chunk(obstacles: np.ndarray) -> np.ndarray:
        return runtime.predict(with_obstacles(states, pad(obstacles, SLOTS)[None]), noise)

    for order in ([3, 2, 1, 0], [1, 0, 3, 2]):
        np.testing.assert_allclose(chunk(rows[order]), chunk(rows), atol=1e-6)
    # The same few obstacles in other slots: unused slots may stand anywhere between them.
    padded = pad(rows[:2], SLOTS)
    np.testing.assert_allclose(chunk(padded[[2, 0, 3, 1]]), chunk(rows[:2]), atol=1e-6)
    # A slot is unused if its body is far away, whatever its size and orientation.
    far = rows[2:].copy()
    far[:, :3] = 90.0
    np.testing.assert_allclose(chunk(np.concatenate([rows[:2], far])), chunk(rows[:2]), atol=1e-6)
    assert np.abs(chunk(rows) - chunk(rows[:2])).max() > 1e-4

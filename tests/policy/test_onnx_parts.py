from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.layout import Layout
from pipeline.params import Params
from tests.fixtures.policy import SLOTS, make_fitted, random_states


@pytest.mark.parametrize("values", [{}, {"sampler": "mip", "num_inference_steps": 2}])
def test_the_parts_in_turn_compute_what_the_policy_does(
    params: Params, layout: Layout, rng: np.random.Generator, values: dict[str, object]
) -> None:
    model = make_fitted(params.override("policy", **values), layout, rng)
    parts = model.as_onnx()
    obs = torch.from_numpy(random_states(rng, layout, 4, 2))
    noise = torch.randn(4, 16, 6)
    _, context, _ = parts.observation.module(obs, noise)
    chunk = parts.start * noise
    for index in range(parts.num_steps):
        rows = {row: table[index] for row, table in parts.tables.values()}
        inputs = {"chunk": chunk, "context": context, **rows}
        _, chunk = parts.step.module(*(inputs[name] for name in parts.step.inputs))
    action = parts.observation.module(obs, chunk)[2]
    torch.testing.assert_close(action, model(obs, noise))


def test_examples_have_the_shapes_that_the_graph_s_inputs_have(
    params: Params, layout: Layout, rng: np.random.Generator
) -> None:
    parts = make_fitted(params, layout, rng).as_onnx()
    assert parts.inputs == {"obs": (2, 25), "noise": (16, 6)}
    assert parts.outputs == {"action": (16, 6)}
    assert parts.num_steps == params.policy.num_inference_steps
    assert tuple(parts.observation.inputs["obs"].shape[1:]) == parts.inputs["obs"]
    assert tuple(parts.step.inputs["chunk"].shape[1:]) == parts.inputs["noise"]


def test_a_policy_that_sees_obstacles_has_a_third_input(
    params: Params, layout: Layout, rng: np.random.Generator
) -> None:
    parts = make_fitted(params, layout, rng, slots=SLOTS).as_onnx()
    assert parts.inputs == {"obs": (2, 25), "noise": (16, 6), "obstacles": (SLOTS, 12)}
    assert list(parts.observation.inputs) == ["obs", "denoised", "obstacles"]

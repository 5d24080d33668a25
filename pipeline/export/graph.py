"""A trained policy as one ONNX graph: features, normaliser and the whole denoising loop inside.

Exported at once, ten steps take minutes. So two parts are exported and composed: the frame (what
stands before and after the denoising) and one step, which becomes the body of a Loop over tables of
coefficients and step embeddings, or stands there once a step (unrolled).

Shapes: B batch, T history steps, S state numbers, H horizon, A action numbers, K steps.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from pipeline.export.float16 import half_tensor, in_half, products_as_sums
from pipeline.export.graph_parts import (
    OnnxExportError,
    Part,
    depending,
    export_part,
    leading_to,
    renamed,
    without,
)
from pipeline.policy.checkpoint import Bundle
from pipeline.policy.model import PolicyModel, rearranged

__all__ = ["OnnxExportError", "export_onnx"]

EXAMPLE_BATCH = 3
"""Batch of the inputs that are traced; any number from 2 that no other dimension has."""

Precision = Literal["float32", "float16"]

ROWS = {
    "step_embeddings": "step_embedding",
    "step_coefficients": "coefficients",
    "step_shuffles": "shuffle",
}
"""Tables with a row a step, and what the step calls its row."""


class _Frame(nn.Module):
    """Observation to context, and the denoised chunk to rad."""

    def __init__(self, model: PolicyModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, obs: Tensor, denoised: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        condition = self.model.condition(obs)
        action = self.model.codec.decode(denoised, self.model.current_joints(obs))
        return condition, self.model.network.embed_condition(condition), action


class _Step(nn.Module):
    """One denoising step; DDPM's also takes the starting noise and how this step rearranges it."""

    def __init__(self, model: PolicyModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        chunk: Tensor,
        step_embedding: Tensor,
        coefficients: Tensor,
        context: Tensor,
        noise: Tensor | None = None,
        shuffle: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        fresh = None if noise is None or shuffle is None else rearranged(noise, shuffle)
        output = self.model.network.denoise(chunk, step_embedding, context)
        return output, self.model.advance(output, chunk, coefficients, fresh)


@dataclass(frozen=True)
class _Parts:
    """What a graph is composed of."""

    frame: Part
    step: Part
    tables: dict[str, onnx.TensorProto]
    """A row a step."""
    chunk: tuple[int, int]
    num_steps: int


_Denoising = Callable[[_Parts], tuple[list[onnx.NodeProto], list[onnx.TensorProto]]]
"""Nodes from `noise` to `denoised`, and their constants."""


def export_onnx(
    bundle: Bundle,
    path: Path,
    opset: int,
    metadata: dict[str, str],
    unrolled: bool = False,
    precision: Precision = "float32",
) -> None:
    """Write the graph: inputs `obs` (B, T, S) and `noise` (B, H, A), output `action` (B, H, A).

    Args:
        bundle: the trained policy; its averaged weights are exported.
        path: the file to write.
        opset: ONNX operator set.
        metadata: further metadata beside layout, fingerprint, config, rate and precision.
        unrolled: write the denoising steps one after the other instead of a Loop.
        precision: of the network's arithmetic; inputs, outputs and all the rest are float32.

    Raises:
        OnnxExportError: torch made a graph that cannot be composed.
        onnx.checker.ValidationError: the composed graph breaks the ONNX specification.
    """
    model = bundle.build()
    parts = _export(model, opset)
    if precision == "float16":
        parts = _network_in_half(parts)
    graph = _compose(parts, model, _unrolled if unrolled else _looped)
    proto = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=helper.OP_SET_ID_VERSION_MAP[("ai.onnx", opset)],
        producer_name="pipeline.export.graph",
    )
    rate = bundle.config["rate_hz"]
    helper.set_model_props(
        proto,
        {
            "layout": json.dumps(bundle.layout.to_dict()),
            "fingerprint": bundle.layout.fingerprint,
            "config": json.dumps(bundle.config),
            "rate_hz": "" if rate is None else str(rate),
            "precision": precision,
            "denoising": "unrolled" if unrolled else "loop",
            **metadata,
        },
    )
    onnx.checker.check_model(proto, full_check=True)
    path.write_bytes(proto.SerializeToString(deterministic=True))


def _export(model: PolicyModel, opset: int) -> _Parts:
    params, layout = model.params, model.layout
    chunk_shape = (params.horizon, layout.action_dim)
    frame, step = _Frame(model), _Step(model)
    with torch.no_grad():
        embeddings = model.network.embed_step(model.steps)
        obs = torch.ones(EXAMPLE_BATCH, params.n_obs_steps, layout.state_dim)
        chunk = torch.zeros(EXAMPLE_BATCH, *chunk_shape)
        _, context, _ = frame(obs, chunk)
    step_inputs = {
        "chunk": chunk,
        "step_embedding": embeddings[:1],
        "coefficients": model.table[0],
        "context": context,
    }
    tables: dict[str, NDArray[np.generic]] = {
        "step_embeddings": embeddings.unsqueeze(1).numpy(),
        "step_coefficients": model.table.numpy(),
    }
    if params.sampler == "ddpm":
        # A copy: torch.export takes one tensor in two places for one input.
        step_inputs |= {"noise": chunk.clone(), "shuffle": model.shuffles[0]}
        tables["step_shuffles"] = model.shuffles.numpy()
    outputs = ("condition", "context", "action")
    return _Parts(
        export_part(frame, {"obs": obs, "denoised": chunk}, outputs, opset, EXAMPLE_BATCH),
        export_part(step, step_inputs, ("prediction", "next_chunk"), opset, EXAMPLE_BATCH),
        {name: numpy_helper.from_array(array, name) for name, array in tables.items()},
        chunk_shape,
        params.num_inference_steps,
    )


def _network_in_half(parts: _Parts) -> _Parts:
    """Embedding of the condition and the denoising network in float16; between them no casts."""
    frame, step = parts.frame, parts.step
    # Not only what depends on the condition: the U-Net cuts its weights on the way.
    embedding = without(leading_to(frame.nodes, "context"), leading_to(frame.nodes, "condition"))
    rest = without(frame.nodes, embedding)
    made, embedding_weights = in_half(embedding, frame.initializers, ["condition"], [])
    # Whatever follows the condition follows the rest of what it is made of, too.
    at = 1 + max(i for i, node in enumerate(rest) if "condition" in node.output)
    nodes, axes = products_as_sums([*rest[:at], *made, *rest[at:]])
    network = leading_to(step.nodes, "prediction")
    sampler = without(step.nodes, network)
    denoising, step_weights = in_half(network, step.initializers, ["chunk"], ["prediction"])
    return _Parts(
        _used(nodes, frame.initializers + embedding_weights + axes),
        _used([*denoising, *sampler], step.initializers + step_weights),
        {**parts.tables, "step_embeddings": half_tensor(
            parts.tables["step_embeddings"], "step_embeddings"
        )},
        parts.chunk,
        parts.num_steps,
    )  # fmt: skip


def _used(nodes: list[onnx.NodeProto], initializers: list[onnx.TensorProto]) -> Part:
    names = {name for node in nodes for name in node.input}
    return Part(nodes, [tensor for tensor in initializers if tensor.name in names])


def _compose(parts: _Parts, model: PolicyModel, denoising: _Denoising) -> onnx.GraphProto:
    after = depending(parts.frame.nodes, "denoised")
    before = without(parts.frame.nodes, after)
    nodes, constants = denoising(parts)
    return helper.make_graph(
        [*before, *nodes, *after],
        "diffusion_policy",
        [
            _value("obs", "batch", model.params.n_obs_steps, model.layout.state_dim),
            _value("noise", "batch", *parts.chunk),
        ],
        [_value("action", "batch", *parts.chunk)],
        [*parts.frame.initializers, *parts.step.initializers, *constants],
    )


def _looped(parts: _Parts) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    counters = {
        # A Loop's trip count and condition must have no axis.
        "num_steps": np.array(parts.num_steps, np.int64),
        "go_on": np.array(True),
    }
    loop = helper.make_node(
        "Loop",
        ["num_steps", "go_on", "noise"],
        ["denoised"],
        name="denoising_loop",
        body=_body(parts.step, parts.chunk, parts.tables),
    )
    made = (numpy_helper.from_array(array, name) for name, array in counters.items())
    return [loop], [*parts.tables.values(), *made]


def _body(step: Part, chunk_shape: tuple[int, int], tables: Iterable[str]) -> onnx.GraphProto:
    """One denoising step; context, noise, tables and weights come from the graph around it."""
    nodes = [
        helper.make_node("Identity", ["go_on_in"], ["go_on_out"], name="go_on"),
        *(helper.make_node("Gather", [name, "index"], [ROWS[name]], axis=0) for name in tables),
        *step.nodes,
    ]
    scalar = (("index", TensorProto.INT64), ("go_on_in", TensorProto.BOOL))
    inputs = [helper.make_tensor_value_info(name, kind, []) for name, kind in scalar]
    return helper.make_graph(
        nodes,
        "denoising_step",
        [*inputs, _value("chunk", "batch", *chunk_shape)],
        [
            helper.make_tensor_value_info("go_on_out", TensorProto.BOOL, []),
            _value("next_chunk", "batch", *chunk_shape),
        ],
    )


def _unrolled(parts: _Parts) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """The step once for each of K, over the same weights; rows of the tables are constants."""
    tables = {name: numpy_helper.to_array(tensor) for name, tensor in parts.tables.items()}
    made = {name for node in parts.step.nodes for name in node.output}
    nodes, rows, chunk = [], [], "noise"
    for index in range(parts.num_steps):
        prefix = f"step_{index}."
        names = {name: prefix + name for name in made} | {"chunk": chunk}
        for table, array in tables.items():
            names[ROWS[table]] = prefix + ROWS[table]
            rows.append(numpy_helper.from_array(array[index], prefix + ROWS[table]))
        chunk = "denoised" if index == parts.num_steps - 1 else prefix + "next_chunk"
        names["next_chunk"] = chunk
        nodes += [renamed(node, names, prefix + node.name) for node in parts.step.nodes]
    return nodes, rows


def _value(name: str, *shape: str | int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

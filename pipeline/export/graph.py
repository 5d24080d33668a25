"""A trained policy as one ONNX graph: features, normaliser and the whole denoising loop inside.

An export of the whole policy at once takes minutes for ten steps. So two parts are exported and
composed: the part before and after the denoising, and one step. The step becomes the body of a
Loop over tables of coefficients and step embeddings, or is repeated (unrolled): a Loop costs ONNX
Runtime about 10 µs an iteration, which only a small network notices. The policy itself says what
its parts are (`pipeline.policy.onnx_parts`).

Shapes: B batch, T history steps, S state numbers, H horizon, A action numbers, K steps.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pipeline.export.float16 import float16_tensor, in_float16, products_as_sums
from pipeline.export.graph_cache import cached_graph, graph_key
from pipeline.export.graph_parts import (
    OnnxExportError,
    Part,
    depending,
    export_part,
    leading_to,
    renamed,
    without,
)
from pipeline.policy.checkpoint import Checkpoint
from pipeline.policy.onnx_parts import OnnxParts

__all__ = ["OnnxExportError", "export_onnx"]

Precision = Literal["float32", "float16"]
Unrolled = bool | Literal["auto"]
UNROLLED_NODES = 1000
"""Most nodes of unrolled steps with `auto`: ten steps are 380 of an MLP, 2,730 of a U-Net."""


@dataclass(frozen=True)
class _Parts:
    """What a graph is composed of."""

    policy: OnnxParts
    observation: Part
    step: Part
    tables: dict[str, onnx.TensorProto]
    """Constants with a row per step."""


_Denoising = Callable[[_Parts, str], tuple[list[onnx.NodeProto], list[onnx.TensorProto]]]
"""Nodes from the named first chunk to `denoised`, and their constants."""


def export_onnx(
    checkpoint: Checkpoint,
    path: Path,
    opset: int,
    metadata: dict[str, str],
    unrolled: Unrolled = False,
    precision: Precision = "float32",
    cache: Path | None = None,
) -> None:
    """Write the graph: inputs `obs` (B, T, S) and `noise` (B, H, A), output `action` (B, H, A).

    Args:
        checkpoint: the trained policy; its averaged weights are exported.
        path: the file to write.
        opset: ONNX operator set.
        metadata: in addition to layout, fingerprint, config, rate and precision.
        unrolled: write the denoising steps one after the other instead of a Loop; `auto` does so
            where that makes at most `UNROLLED_NODES` nodes.
        precision: of the network's arithmetic; inputs, outputs and all the rest are float32.
        cache: folder of the last graph (`graph_cache`); None traces it anew.

    Raises:
        OnnxExportError: torch made a graph that cannot be composed.
        onnx.checker.ValidationError: the composed graph breaks the ONNX specification.
    """
    key = "" if cache is None else graph_key(checkpoint, opset, unrolled, precision)
    proto = cached_graph(cache, key, lambda: _trace(checkpoint, opset, unrolled, precision))
    rate = checkpoint.config["rate_hz"]
    unrolled = all(node.op_type != "Loop" for node in proto.graph.node)
    helper.set_model_props(
        proto,
        {
            "layout": json.dumps(checkpoint.layout.to_dict()),
            "fingerprint": checkpoint.layout.fingerprint,
            "config": json.dumps(checkpoint.config),
            "rate_hz": "" if rate is None else str(rate),
            "precision": precision,
            "denoising": "unrolled" if unrolled else "loop",
            **metadata,
        },
    )
    onnx.checker.check_model(proto, full_check=True)
    path.write_bytes(proto.SerializeToString(deterministic=True))


def _trace(
    checkpoint: Checkpoint, opset: int, unrolled: Unrolled, precision: Precision
) -> onnx.ModelProto:
    """The graph without its metadata."""
    parts = _export(checkpoint.build().as_onnx(), opset)
    if precision == "float16":
        parts = _network_in_float16(parts)
    if unrolled == "auto":
        unrolled = len(parts.step.nodes) * parts.policy.num_steps <= UNROLLED_NODES
    graph = _compose(parts, _unrolled if unrolled else _looped)
    return helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=helper.OP_SET_ID_VERSION_MAP[("ai.onnx", opset)],
        producer_name="pipeline.export.graph",
    )


def _export(policy: OnnxParts, opset: int) -> _Parts:
    tables = {
        name: numpy_helper.from_array(rows.numpy(), name)
        for name, (_, rows) in policy.tables.items()
    }
    return _Parts(
        policy,
        export_part(policy.observation, "frame", opset),
        export_part(policy.step, "step", opset),
        tables,
    )


def _network_in_float16(parts: _Parts) -> _Parts:
    """Convert the condition's embedding and the network to float16, without casts between them."""
    before, step = parts.observation, parts.step
    # Includes nodes that do not depend on the condition: the U-Net slices its weights there.
    embedding = without(leading_to(before.nodes, "context"), leading_to(before.nodes, "condition"))
    rest = without(before.nodes, embedding)
    made, embedding_weights = in_float16(embedding, before.initializers, ["condition"], [])
    # Nodes that follow the condition also follow everything that it is computed from.
    at = 1 + max(i for i, node in enumerate(rest) if "condition" in node.output)
    nodes, axes = products_as_sums([*rest[:at], *made, *rest[at:]])
    network = leading_to(step.nodes, "prediction")
    sampler = without(step.nodes, network)
    denoising, step_weights = in_float16(network, step.initializers, ["chunk"], ["prediction"])
    embeddings = float16_tensor(parts.tables["step_embeddings"], "step_embeddings")
    return replace(
        parts,
        observation=_used(nodes, before.initializers + embedding_weights + axes),
        step=_used([*denoising, *sampler], step.initializers + step_weights),
        tables={**parts.tables, "step_embeddings": embeddings},
    )


def _used(nodes: list[onnx.NodeProto], initializers: list[onnx.TensorProto]) -> Part:
    names = {name for node in nodes for name in node.input}
    return Part(nodes, [tensor for tensor in initializers if tensor.name in names])


def _compose(parts: _Parts, denoising: _Denoising) -> onnx.GraphProto:
    after = depending(parts.observation.nodes, "denoised")
    before = without(parts.observation.nodes, after)
    policy, start, start_nodes, start_constants = parts.policy, "noise", [], []
    if policy.start != 1.0:
        start = "start"
        start_nodes = [helper.make_node("Mul", ["noise", "start_scale"], [start], name="start")]
        scale = np.array(policy.start, np.float32)
        start_constants = [numpy_helper.from_array(scale, "start_scale")]
    nodes, constants = denoising(parts, start)
    return helper.make_graph(
        [*before, *start_nodes, *nodes, *after],
        "diffusion_policy",
        [_value(name, "batch", *shape) for name, shape in policy.inputs.items()],
        [_value(name, "batch", *shape) for name, shape in policy.outputs.items()],
        [*parts.observation.initializers, *parts.step.initializers, *start_constants, *constants],
    )


def _looped(parts: _Parts, start: str) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    counters = {
        # A Loop's trip count and condition must have no axis.
        "num_steps": np.array(parts.policy.num_steps, np.int64),
        "go_on": np.array(True),
    }
    loop = helper.make_node(
        "Loop",
        ["num_steps", "go_on", start],
        ["denoised"],
        name="denoising_loop",
        body=_body(parts),
    )
    made = (numpy_helper.from_array(array, name) for name, array in counters.items())
    return [loop], [*parts.tables.values(), *made]


def _body(parts: _Parts) -> onnx.GraphProto:
    """One denoising step; context, noise, tables and weights come from the graph around it."""
    rows = {name: row for name, (row, _) in parts.policy.tables.items()}
    nodes = [
        helper.make_node("Identity", ["go_on_in"], ["go_on_out"], name="go_on"),
        *(helper.make_node("Gather", [name, "index"], [row], axis=0) for name, row in rows.items()),
        *parts.step.nodes,
    ]
    scalar = (("index", TensorProto.INT64), ("go_on_in", TensorProto.BOOL))
    inputs = [helper.make_tensor_value_info(name, kind, []) for name, kind in scalar]
    chunk = parts.policy.inputs["noise"]
    return helper.make_graph(
        nodes,
        "denoising_step",
        [*inputs, _value("chunk", "batch", *chunk)],
        [
            helper.make_tensor_value_info("go_on_out", TensorProto.BOOL, []),
            _value("next_chunk", "batch", *chunk),
        ],
    )


def _unrolled(parts: _Parts, start: str) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Repeat the step K times with the same weights; rows of the tables become constants."""
    tables = {name: numpy_helper.to_array(tensor) for name, tensor in parts.tables.items()}
    made = {name for node in parts.step.nodes for name in node.output}
    nodes, constants, chunk = [], [], start
    for index in range(parts.policy.num_steps):
        prefix = f"step_{index}."
        names = {name: prefix + name for name in made} | {"chunk": chunk}
        for table, array in tables.items():
            row = parts.policy.tables[table][0]
            names[row] = prefix + row
            constants.append(numpy_helper.from_array(array[index], prefix + row))
        chunk = "denoised" if index == parts.policy.num_steps - 1 else prefix + "next_chunk"
        names["next_chunk"] = chunk
        nodes += [renamed(node, names, prefix + node.name) for node in parts.step.nodes]
    return nodes, constants


def _value(name: str, *shape: str | int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

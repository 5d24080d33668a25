"""A trained policy as one ONNX graph: features, normaliser and the whole denoising loop inside.

Unrolled, ten steps take minutes to export and to build. So two parts are exported and composed: the
frame (what stands before and after the denoising) and one step, the body of a Loop whose
coefficients and step embeddings are tables.

Shapes: B batch, T history steps, S state numbers, H horizon, A action numbers, K steps.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from pipeline.errors import PipelineError
from pipeline.policy.bundle import Bundle
from pipeline.policy.model import PolicyModel, rearranged

EXAMPLE_BATCH = 3
"""Batch of the inputs that are traced; any number from 2 that no other dimension has."""


ROWS = {
    "step_embeddings": "step_embedding",
    "step_coefficients": "coefficients",
    "step_shuffles": "shuffle",
}
"""Tables with a row a step, and what the step calls its row."""


class OnnxExportError(PipelineError):
    """The graph cannot be composed."""


class _Frame(nn.Module):
    """Observation to context, and the denoised chunk to rad."""

    def __init__(self, model: PolicyModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, obs: Tensor, denoised: Tensor) -> tuple[Tensor, Tensor]:
        context = self.model.network.embed_condition(self.model.condition(obs))
        return context, self.model.codec.decode(denoised, self.model.current_joints(obs))


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
    ) -> Tensor:
        fresh = None if noise is None or shuffle is None else rearranged(noise, shuffle)
        return self.model.denoise_step(chunk, step_embedding, coefficients, context, fresh)


@dataclass(frozen=True)
class _Part:
    """An exported module: its nodes and weights, under names that no other part has."""

    nodes: list[onnx.NodeProto]
    initializers: list[onnx.TensorProto]


def export_onnx(bundle: Bundle, path: Path, opset: int, metadata: dict[str, str]) -> None:
    """Write the graph: inputs `obs` (B, T, S) and `noise` (B, H, A), output `action` (B, H, A).

    Args:
        bundle: the trained policy; its averaged weights are exported.
        path: the file to write.
        opset: ONNX operator set.
        metadata: further metadata beside layout, fingerprint, config and rate.

    Raises:
        OnnxExportError: torch made a graph that cannot be composed.
        onnx.checker.ValidationError: the composed graph breaks the ONNX specification.
    """
    model = bundle.build()
    graph = _compose(model, opset)
    proto = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=helper.OP_SET_ID_VERSION_MAP[("ai.onnx", opset)],
        producer_name="pipeline.policy.onnx",
    )
    rate = bundle.config["rate_hz"]
    helper.set_model_props(
        proto,
        {
            "layout": json.dumps(bundle.layout.to_dict()),
            "fingerprint": bundle.layout.fingerprint,
            "config": json.dumps(bundle.config),
            "rate_hz": "" if rate is None else str(rate),
            **metadata,
        },
    )
    onnx.checker.check_model(proto, full_check=True)
    path.write_bytes(proto.SerializeToString(deterministic=True))


def _compose(model: PolicyModel, opset: int) -> onnx.GraphProto:
    params, layout = model.params, model.layout
    chunk_shape = (params.horizon, layout.action_dim)
    with torch.no_grad():
        embeddings = model.network.embed_step(model.steps)
        obs = torch.ones(EXAMPLE_BATCH, params.n_obs_steps, layout.state_dim)
        chunk = torch.zeros(EXAMPLE_BATCH, *chunk_shape)
        context, _ = _Frame(model)(obs, chunk)
    frame = _export(_Frame(model), {"obs": obs, "denoised": chunk}, ("context", "action"), opset)
    step_inputs = {
        "chunk": chunk,
        "step_embedding": embeddings[:1],
        "coefficients": model.table[0],
        "context": context,
    }
    tables = {
        "step_embeddings": embeddings.unsqueeze(1).numpy(),
        "step_coefficients": model.table.numpy(),
    }
    if params.sampler == "ddpm":
        # A copy: torch.export takes one tensor in two places for one input.
        step_inputs |= {"noise": chunk.clone(), "shuffle": model.shuffles[0]}
        tables["step_shuffles"] = model.shuffles.numpy()
    step = _export(_Step(model), step_inputs, ("next_chunk",), opset)
    before, after = _split(frame.nodes, "denoised")
    counters = {
        # A Loop's trip count and condition must have no axis.
        "num_steps": np.array(params.num_inference_steps, np.int64),
        "go_on": np.array(True),
    }
    loop = helper.make_node(
        "Loop",
        ["num_steps", "go_on", "noise"],
        ["denoised"],
        name="denoising_loop",
        body=_body(step, chunk_shape, tables),
    )
    return helper.make_graph(
        [*before, loop, *after],
        "diffusion_policy",
        [
            _value("obs", "batch", params.n_obs_steps, layout.state_dim),
            _value("noise", "batch", *chunk_shape),
        ],
        [_value("action", "batch", *chunk_shape)],
        [
            *frame.initializers,
            *step.initializers,
            *(numpy_helper.from_array(array, name) for name, array in (tables | counters).items()),
        ],
    )


def _body(step: _Part, chunk_shape: tuple[int, int], tables: Iterable[str]) -> onnx.GraphProto:
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


def _export(
    module: nn.Module, inputs: dict[str, Tensor], outputs: tuple[str, ...], opset: int
) -> _Part:
    """Export one module; every name but its inputs and outputs gets the module's as prefix."""
    batch = torch.export.Dim("batch")
    shapes = {
        name: {0: batch} if value.shape[:1] == (EXAMPLE_BATCH,) else {}
        for name, value in inputs.items()
    }
    with warnings.catch_warnings(), _quiet("torch.onnx", "onnxscript", "onnx_ir"):
        # The exporter warns of its own internals (deprecations, tracing); the checker judges.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module.eval(),
            tuple(inputs.values()),
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=tuple(shapes.values()),
            opset_version=opset,
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise OnnxExportError(f"torch exported nothing for {type(module).__name__}")
    proto = program.model_proto
    found = {entry.domain: entry.version for entry in proto.opset_import}
    if proto.functions or found.get("") != opset:
        raise OnnxExportError(
            f"torch exported {type(module).__name__} with operator sets {found} and "
            f"{len(proto.functions)} functions, expected plain operators of set {opset}; "
            "change export.opset"
        )
    return _prefixed(
        proto.graph, f"{type(module).__name__.strip('_').lower()}.", {*inputs, *outputs}
    )


def _prefixed(graph: onnx.GraphProto, prefix: str, keep: set[str]) -> _Part:
    def rename(names: Iterable[str]) -> list[str]:
        return [name if name in keep or not name else prefix + name for name in names]

    for node in graph.node:
        if any(attribute.HasField("g") for attribute in node.attribute):
            raise OnnxExportError(f"node {node.name} ({node.op_type}) holds a graph of its own")
        node.name = prefix + node.name
        node.input[:], node.output[:] = rename(node.input), rename(node.output)
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    for tensor in graph.initializer:
        tensor.name = prefix + tensor.name
        tensor.ClearField("metadata_props")
        tensor.ClearField("doc_string")
    return _Part(list(graph.node), list(graph.initializer))


def _split(
    nodes: list[onnx.NodeProto], source: str
) -> tuple[list[onnx.NodeProto], list[onnx.NodeProto]]:
    """Nodes that do not depend on a value, and those that do, each in their order."""
    dependent = {source}
    before: list[onnx.NodeProto] = []
    after: list[onnx.NodeProto] = []
    for node in nodes:
        late = not dependent.isdisjoint(node.input)
        (after if late else before).append(node)
        if late:
            dependent.update(node.output)
    return before, after


def _value(name: str, *shape: str | int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


class _quiet:  # noqa: N801 - reads as a statement
    """Raises the level of some loggers for a while."""

    def __init__(self, *names: str) -> None:
        self._loggers = [logging.getLogger(name) for name in names]
        self._levels = [logger.level for logger in self._loggers]

    def __enter__(self) -> None:
        for logger in self._loggers:
            logger.setLevel(logging.ERROR)

    def __exit__(self, *_: object) -> None:
        for logger, level in zip(self._loggers, self._levels, strict=True):
            logger.setLevel(level)

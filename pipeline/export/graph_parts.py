"""Export single torch modules as nodes and weights, and pick nodes out of a graph.

`pipeline.export.graph` composes the exported parts.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import onnx
import torch

from pipeline.errors import PipelineError
from pipeline.policy.onnx_parts import EXAMPLE_BATCH, OnnxModule


class OnnxExportError(PipelineError):
    """The graph cannot be composed from torch's exports."""


@dataclass(frozen=True)
class Part:
    """An exported module: its nodes and weights, under names that no other part has."""

    nodes: list[onnx.NodeProto]
    initializers: list[onnx.TensorProto]


def export_part(part: OnnxModule, prefix: str, opset: int) -> Part:
    """Export one module; every name but its inputs and outputs gets the prefix.

    Args:
        part: the module, with examples of its inputs and the names of its outputs.
        prefix: of the names inside, without the dot.
        opset: ONNX operator set.

    Raises:
        OnnxExportError: torch made a graph that cannot be composed.
    """
    size = torch.export.Dim("batch")
    shapes = tuple(
        {0: size} if value.shape[:1] == (EXAMPLE_BATCH,) else {} for value in part.inputs.values()
    )
    with warnings.catch_warnings(), _quiet("torch.onnx", "onnxscript", "onnx_ir"):
        # The exporter warns of its own internals (deprecations, tracing); the ONNX checker decides.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            part.module.eval(),
            tuple(part.inputs.values()),
            input_names=list(part.inputs),
            output_names=list(part.outputs),
            dynamic_shapes=shapes,
            opset_version=opset,
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise OnnxExportError(f"torch exported nothing for the {prefix}")
    proto = program.model_proto
    found = {entry.domain: entry.version for entry in proto.opset_import}
    if proto.functions or found.get("") != opset:
        raise OnnxExportError(
            f"torch exported the {prefix} with operator sets {found} and "
            f"{len(proto.functions)} functions, expected plain operators of set {opset}; "
            "change export.opset"
        )
    return _prefixed(proto.graph, f"{prefix}.", {*part.inputs, *part.outputs})


def depending(nodes: Iterable[onnx.NodeProto], *sources: str) -> list[onnx.NodeProto]:
    """Nodes that use a value directly or through others, in their order.

    Args:
        nodes: in topological order.
        sources: names of values.
    """
    reached, found = set(sources), []
    for node in nodes:
        if not reached.isdisjoint(node.input):
            found.append(node)
            reached.update(node.output)
    return found


def leading_to(nodes: list[onnx.NodeProto], *targets: str) -> list[onnx.NodeProto]:
    """Nodes that a value is computed from, in their order.

    Args:
        nodes: in topological order.
        targets: names of values.
    """
    wanted, found = set(targets), []
    for node in reversed(nodes):
        if not wanted.isdisjoint(node.output):
            found.append(node)
            wanted.update(node.input)
    return found[::-1]


def without(nodes: list[onnx.NodeProto], some: list[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """Nodes that are not among some others, in their order.

    Args:
        nodes: all.
        some: a part of them; the very objects, not copies.
    """
    left_out = {id(node) for node in some}
    return [node for node in nodes if id(node) not in left_out]


def renamed(node: onnx.NodeProto, names: Mapping[str, str], name: str) -> onnx.NodeProto:
    """A copy of a node with other names of inputs and outputs.

    Args:
        node: it holds no graph of its own.
        names: new names by the old ones; those that are missing stay.
        name: of the copy.
    """
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    copy.name = name
    copy.input[:] = [names.get(value, value) for value in node.input]
    copy.output[:] = [names.get(value, value) for value in node.output]
    return copy


def _prefixed(graph: onnx.GraphProto, prefix: str, keep: set[str]) -> Part:
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
    return Part(list(graph.node), list(graph.initializer))


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

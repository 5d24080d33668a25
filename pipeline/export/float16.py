"""Rewrite chosen nodes of a graph to compute in float16; all others stay in float32.

TensorRT 11 and TensorRT-RTX take the precision from the graph alone, so the graph must state it.
Kinematics, features, normaliser, sampler and action codec stay in float32: a millimetre of a metre
has no digits left in float16.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SUFFIX = ".float16"


def in_float16(
    nodes: list[onnx.NodeProto],
    initializers: list[onnx.TensorProto],
    inputs: Collection[str],
    outputs: Collection[str],
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """The same nodes with float16 arithmetic.

    Operators such as LayerNormalization still accumulate in float32 if their stash_type says so
    (ONNX operator LayerNormalization).

    Args:
        nodes: in topological order, changed in place.
        initializers: weights; those that these nodes use get float16 copies.
        inputs: float32 values from outside, cast where they are first used.
        outputs: values that the other nodes take in float32, cast back.

    Returns:
        The nodes with their casts, and the initialisers that they use in place of the old ones.
    """
    weights = {tensor.name: tensor for tensor in initializers}
    used = {name for node in nodes for name in node.input}
    names: dict[str, str] = {}
    made: list[onnx.TensorProto] = []
    before, after = [], []
    for name in sorted(used & weights.keys()):
        if weights[name].data_type == TensorProto.FLOAT:
            names[name] = name + SUFFIX
            made.append(float16_tensor(weights[name], names[name]))
    for name in sorted(used & set(inputs)):
        names[name] = name + SUFFIX
        before.append(_cast(name, names[name], TensorProto.FLOAT16))
    for name in outputs:
        names[name] = name + SUFFIX
        after.append(_cast(names[name], name, TensorProto.FLOAT))
    for node in nodes:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
        _convert_attributes(node)
    return [*before, *nodes, *after], made


def float16_tensor(tensor: onnx.TensorProto, name: str) -> onnx.TensorProto:
    """A float32 tensor in float16.

    Args:
        tensor: its values lie within ±65504, as weights and constants do.
        name: of the new one.
    """
    return numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), name)


def _cast(source: str, target: str, to: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [source], [target], name=f"cast.{target}", to=to)


def _convert_attributes(node: onnx.NodeProto) -> None:
    """Convert the constants of a node, and casts to float32."""
    for attribute in node.attribute:
        if attribute.name == "to" and attribute.i == TensorProto.FLOAT:
            attribute.i = TensorProto.FLOAT16
        elif attribute.HasField("t") and attribute.t.data_type == TensorProto.FLOAT:
            attribute.t.CopyFrom(float16_tensor(attribute.t, attribute.t.name))
        elif attribute.name == "value_float":
            attribute.CopyFrom(
                helper.make_attribute(
                    "value", numpy_helper.from_array(np.array(attribute.f, np.float16))
                )
            )


def products_as_sums(
    nodes: list[onnx.NodeProto],
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Matrix products written as element-wise products and sums, for tiny matrices in float32.

    TensorRT-RTX has no float32 matrix product for compute capability 7.5, and the kinematics need
    none.

    Args:
        nodes: some of them MatMul of operands with two axes or more.

    Returns:
        The nodes with their replacements, and the constants that these use.
    """
    axes = {"products.last": -1, "products.third": -3, "products.second": -2}
    made, found = [], False
    for node in nodes:
        if node.op_type != "MatMul":
            made.append(node)
            continue
        found = True
        (left, right), name = node.input, node.output[0]
        columns, rows, terms = (f"{name}.{part}" for part in ("columns", "rows", "terms"))
        made += [
            helper.make_node("Unsqueeze", [left, "products.last"], [columns], name=columns),
            helper.make_node("Unsqueeze", [right, "products.third"], [rows], name=rows),
            helper.make_node("Mul", [columns, rows], [terms], name=terms),
            helper.make_node(
                "ReduceSum", [terms, "products.second"], [name], name=node.name, keepdims=0
            ),
        ]
    constants = [
        numpy_helper.from_array(np.array([axis], np.int64), name) for name, axis in axes.items()
    ]
    return made, constants if found else []

"""The pass alone, on graphs small enough to work out."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from pipeline.export.float16 import float16_tensor, in_float16, products_as_sums


def run(
    nodes: list[onnx.NodeProto], weights: list[onnx.TensorProto], *inputs: np.ndarray
) -> np.ndarray:
    names = ["x", "y"][: len(inputs)]
    graph = helper.make_graph(
        nodes,
        "graph",
        [
            helper.make_tensor_value_info(n, TensorProto.FLOAT, v.shape)
            for n, v in zip(names, inputs, strict=True)
        ],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found: np.ndarray = session.run(None, dict(zip(names, inputs, strict=True)))[0]
    return found


def test_chosen_nodes_compute_in_float16_and_the_rest_does_not() -> None:
    # 2049 has no float16: next to it lie 2048 and 2050.
    weight = numpy_helper.from_array(np.array([2049.0], np.float32), "w")
    one = numpy_helper.from_array(np.array([1.0], np.float32))
    nodes = [
        helper.make_node("Constant", [], ["one"], name="one", value=one),
        helper.make_node("Mul", ["x", "one"], ["same"], name="same"),
        helper.make_node("Add", ["same", "w"], ["sum"], name="sum"),
    ]
    after = helper.make_node("Add", ["sum", "w"], ["out"], name="out")
    x = np.zeros(1, np.float32)
    assert run([*nodes, after], [weight], x) == 4098.0
    made, weights = in_float16(nodes, [weight], ["x"], ["sum"])
    assert [node.op_type for node in made] == ["Cast", "Constant", "Mul", "Add", "Cast"]
    assert [tensor.name for tensor in weights] == ["w.float16"]
    assert run([*made, after], [weight, *weights], x) == 2048.0 + 2049.0


def test_casts_to_float_inside_become_casts_to_float16() -> None:
    shape = numpy_helper.from_array(np.array([2], np.int64), "shape")
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["twos"], name="twos",
                         value=numpy_helper.from_array(np.array([2.0], np.float32))),
        helper.make_node("Cast", ["shape"], ["number"], name="number", to=TensorProto.FLOAT),
        helper.make_node("Mul", ["twos", "number"], ["four"], name="four"),
        helper.make_node("Add", ["four", "x"], ["out"], name="out"),
    ]  # fmt: skip
    made, weights = in_float16(nodes, [shape], ["x"], ["out"])
    assert weights == []
    np.testing.assert_array_equal(run(made, [shape], np.zeros(2, np.float32)), [4.0, 4.0])


def test_a_tensor_is_rounded_to_the_nearest() -> None:
    tensor = float16_tensor(numpy_helper.from_array(np.array([1 / 3], np.float32)), "third")
    assert tensor.data_type == TensorProto.FLOAT16
    assert numpy_helper.to_array(tensor) == np.float16(1 / 3)


@settings(max_examples=15)
@given(st.tuples(*[st.integers(1, 4)] * 4), st.integers(0, 2**32 - 1))
def test_a_product_as_a_sum_is_the_product(sizes: tuple[int, ...], seed: int) -> None:
    batch, rows, terms, columns = sizes
    rng = np.random.default_rng(seed)
    left = rng.normal(size=(batch, rows, terms)).astype(np.float32)
    right = rng.normal(size=(batch, terms, columns)).astype(np.float32)
    nodes, axes = products_as_sums([helper.make_node("MatMul", ["x", "y"], ["out"], name="p")])
    assert "MatMul" not in {node.op_type for node in nodes}
    np.testing.assert_allclose(run(nodes, axes, left, right), left @ right, atol=1e-5)


def test_without_products_nothing_changes() -> None:
    nodes = [helper.make_node("Neg", ["x"], ["out"], name="neg")]
    assert products_as_sums(nodes) == (nodes, [])

from __future__ import annotations

import pytest
import torch
from onnx import helper
from torch import Tensor, nn

from pipeline.export.graph_parts import (
    OnnxExportError,
    depending,
    export_part,
    leading_to,
    renamed,
    without,
)
from pipeline.policy.onnx_parts import OnnxModule


class Shift(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.by = nn.Parameter(torch.ones(2))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.by


def test_names_of_a_part_are_its_own_but_for_inputs_and_outputs() -> None:
    part = export_part(OnnxModule(Shift(), {"x": torch.zeros(3, 2)}, ("y",)), "shift", 18)
    assert [node.op_type for node in part.nodes] == ["Add"]
    assert set(part.nodes[0].input) == {"x", "shift.by"}
    assert list(part.nodes[0].output) == ["y"]
    assert [tensor.name for tensor in part.initializers] == ["shift.by"]


def test_an_operator_set_that_torch_does_not_write_is_refused() -> None:
    with pytest.raises(OnnxExportError, match=r"shift.*export\.opset"):
        export_part(OnnxModule(Shift(), {"x": torch.zeros(3, 2)}, ("y",)), "shift", 99)


def test_nodes_are_found_by_what_they_use_and_by_what_they_make() -> None:
    nodes = [
        helper.make_node("Neg", ["a"], ["b"]),
        helper.make_node("Add", ["b", "c"], ["d"]),
        helper.make_node("Neg", ["c"], ["e"]),
        helper.make_node("Neg", ["d"], ["f"]),
    ]
    assert depending(nodes, "a") == [nodes[0], nodes[1], nodes[3]]
    assert leading_to(nodes, "d") == nodes[:2]
    assert without(nodes, nodes[:2]) == nodes[2:]


def test_a_copy_is_called_otherwise_and_the_original_stays() -> None:
    node = helper.make_node("Add", ["a", "b"], ["c"], name="sum")
    copy = renamed(node, {"a": "x", "c": "z"}, "other")
    assert (list(copy.input), list(copy.output), copy.name) == (["x", "b"], ["z"], "other")
    assert (list(node.input), list(node.output), node.name) == (["a", "b"], ["c"], "sum")

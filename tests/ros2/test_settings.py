"""The settings of both nodes, with rclpy and without."""

from __future__ import annotations

import ast
import inspect
from dataclasses import asdict
from pathlib import Path

from pipeline.commands.robot import ros2
from pipeline.ros2.settings import NodeSettings

EXAMPLE = Path(__file__).parents[2] / "examples/ros2/policy_node.py"


def test_the_command_has_every_setting_with_its_default() -> None:
    options = inspect.signature(ros2).parameters
    given = {name: options[name].default for name in asdict(NodeSettings())}
    assert given == asdict(NodeSettings())
    assert set(options) - set(given) == {"model", "backend"}


def test_the_rclpy_node_takes_its_parameters_from_them() -> None:
    """The node itself needs rclpy, so its source is read."""
    text = EXAMPLE.read_text()
    compile(text, str(EXAMPLE), "exec")
    imported = {
        name.name
        for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom)
        for name in node.names
    }  # fmt: skip
    assert {"Controller", "NodeSettings", "seconds_and_nanoseconds"} <= imported
    assert "asdict(NodeSettings())" in text

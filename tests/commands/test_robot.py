"""The options of the robot's commands reach their stages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.ros2.settings import NodeSettings
from pipeline.stages.robot import record, ros2
from tests.command import refusal, run_pipeline


def _given(monkeypatch: pytest.MonkeyPatch, stage: Any, *arguments: str) -> tuple[Any, ...]:
    given: list[tuple[Any, ...]] = []
    monkeypatch.setattr(stage, "run", lambda *values: given.append(values))
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    return given[0]


def test_topics_and_ages_reach_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    model, backend, settings = _given(
        monkeypatch, ros2, "ros2", "--model", "m", "--commands", "/arm/go",
        "--planning-scene", "/monitored_planning_scene", "--joints-max-age-s", "0.2",
    )  # fmt: skip
    assert (model, backend) == ("m", "auto")
    assert settings == NodeSettings(
        commands="/arm/go", planning_scene="/monitored_planning_scene", joints_max_age_s=0.2
    )


def test_topics_reach_the_recorder(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _given(monkeypatch, record, "record", "bag", "--topic", "/a", "--topic", "/b") == (
        Path("bag"), ["/a", "/b"], None,
    )  # fmt: skip


def test_help_needs_nothing_installed() -> None:
    assert "over DDS" in run_pipeline("ros2", "--help").stdout
    assert "rosbag2" in run_pipeline("record", "--help").stdout


def test_a_domain_that_does_not_exist_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("cyclonedds", reason="the extra ros2 is not installed")
    monkeypatch.setenv("ROS_DOMAIN_ID", "999")
    assert "ROS_DOMAIN_ID is '999'" in refusal("record", str(tmp_path / "bag"))

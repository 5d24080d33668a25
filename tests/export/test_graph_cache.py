from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from onnx import helper

from pipeline.export.graph_cache import cached_graph, graph_key
from pipeline.policy.checkpoint import Checkpoint


def made(name: str) -> onnx.ModelProto:
    return helper.make_model(helper.make_graph([], name, [], []))


def test_a_key_depends_on_weights_configuration_and_settings(checkpoint: Checkpoint) -> None:
    other = {name: weights + 1 for name, weights in checkpoint.ema.items()}
    keys = {
        graph_key(checkpoint, 18, "auto"),
        graph_key(checkpoint, 19, "auto"),
        graph_key(replace(checkpoint, ema=other), 18, "auto"),
        graph_key(replace(checkpoint, config={**checkpoint.config, "a": 1}), 18, "auto"),
    }
    assert len(keys) == 4
    # Weights that are not exported do not count.
    assert graph_key(replace(checkpoint, model=other), 18, "auto") in keys


def test_the_last_graph_is_kept_and_a_damaged_file_is_made_again(tmp_path: Path) -> None:
    def not_again() -> onnx.ModelProto:
        pytest.fail("made again")

    assert cached_graph(None, "a", lambda: made("one")).graph.name == "one"
    assert cached_graph(tmp_path / "c", "a", lambda: made("one")).graph.name == "one"
    assert cached_graph(tmp_path / "c", "a", not_again).graph.name == "one"
    (tmp_path / "c/a.onnx").write_bytes(b"\xff\xff")
    assert cached_graph(tmp_path / "c", "a", lambda: made("two")).graph.name == "two"
    assert cached_graph(tmp_path / "c", "b", lambda: made("three")).graph.name == "three"
    assert [file.name for file in (tmp_path / "c").iterdir()] == ["b.onnx"]


def test_a_folder_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert cached_graph(tmp_path / "file", "a", lambda: made("one")).graph.name == "one"

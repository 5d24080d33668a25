"""Every Python block in the docs runs, in a copy with a trained and an exported policy."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zarr

import pipeline
from tests.fixtures.serving import served

from .blocks import Block, blocks, documents

BLOCKS = [
    block
    for file in documents()
    if file.parent.name != "ko"
    for block in blocks(file)
    if block.language == "python"
]
# What the docs' readers have and a block does not define: what the arm and the camera say.
SEEN: dict[str, Any] = {
    "q": [0.0, -0.3, 0.8, 0.0, 1.57, 0.0],
    "p": [0.4, 0.0, 0.3],
    "a": [0.0, 0.0, 1.0],
    "pipeline": pipeline,
}
SEEN["observation"] = {"joint_pos": SEEN["q"], "pen_pos": SEEN["p"], "pen_axis": SEEN["a"]}
# Blocks that another test shows: the fetching of a release is tests/runtime/test_released.py, a
# policy without an arm is tests/test_generic.py.
SHOWN = ("REPOSITORY@v1.0.0", "artifacts/vectors_export")


@pytest.fixture(scope="module")
def url(exported: Path) -> Iterator[str]:
    """What `python -m pipeline serve` serves, on a free port."""
    with served(pipeline.load_policy(exported, "onnxruntime")) as address:
        yield address


def test_there_are_blocks() -> None:
    assert len(BLOCKS) > 5
    assert all(any(words in block.text for block in BLOCKS) for words in SHOWN)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.where)
def test_the_block_runs(
    block: Block,
    make_place: Callable[[], Path],
    exported: Path,
    url: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if any(words in block.text for words in SHOWN):
        pytest.skip("shown by tests/runtime/test_released.py")
    place = make_place()
    shutil.copytree(place / "artifacts/train", place / "checkpoints/diffusion_policy")
    for name in ("artifacts/export", "checkpoints/export"):
        shutil.copytree(exported, place / name)
    text = block.text.replace("/workspace/", f"{place}/").replace("ws://127.0.0.1:8765", url)
    states = zarr.open_group(place / "artifacts/dataset/pen_grasp.zarr", mode="r")["data/state"]
    names = {**SEEN, "obs": states[:2]}
    exec(compile(text, block.where, "exec"), names)
    if "command" in names:
        assert np.shape(names["command"]) == (6,)
    if "actions" in names:
        assert tuple(names["actions"].shape) == (1, 16, 6)
    if "checkpoint" in names:
        assert names["checkpoint"]["config"]["state_dim"] == 25


def test_dimensions_in_comments_are_those_of_the_checkpoint(template: Path) -> None:
    """The guide says `# 25` beside `checkpoint["config"]["state_dim"]`, and so on."""
    checkpoint = torch.load(template / "artifacts/train/best_model.pt", weights_only=True)
    said = re.findall(
        r'checkpoint\["config"\]\["(\w+)"\]  # (\d+)', "\n".join(b.text for b in BLOCKS)
    )
    assert len(said) == 4
    assert all(checkpoint["config"][name] == int(number) for name, number in said)

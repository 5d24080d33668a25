"""docs/reach.py, which draws the README's picture, runs on a trained policy."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from .blocks import REPOSITORY

SHOWN = REPOSITORY / "docs/images/reach.gif"


def test_the_picture_moves_and_is_small() -> None:
    with Image.open(SHOWN) as picture:
        assert getattr(picture, "n_frames", 1) > 20
    assert SHOWN.stat().st_size < 2e6


@pytest.mark.slow
def test_the_picture_is_drawn_from_a_checkpoint(make_place: Callable[[], Path]) -> None:
    place = make_place()
    done = subprocess.run(
        [sys.executable, "docs/reach.py", "artifacts/train/best_model.pt", "reach.gif"],
        cwd=place, env={"PYTHONPATH": str(place), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "nothing renders here" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr
    with Image.open(SHOWN) as shown, Image.open(place / "reach.gif") as drawn:
        assert drawn.size == shown.size and getattr(drawn, "n_frames", 1) > 20

"""docs/repaired.py draws pictures of repaired chunks from a trained policy."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from .blocks import REPOSITORY

NAMES = ("repaired_1.png", "repaired_2.png", "repaired_3.png", "arrangement.png")


@pytest.mark.parametrize("name", NAMES)
def test_the_pictures_are_small(name: str) -> None:
    path = REPOSITORY / "docs/images" / name
    with Image.open(path) as picture:
        assert picture.width > 800
    assert path.stat().st_size < 3e5


@pytest.mark.slow
def test_the_pictures_are_drawn_from_a_checkpoint(make_place: Callable[[], Path]) -> None:
    place = make_place()
    done = subprocess.run(
        [sys.executable, "docs/repaired.py", "artifacts/train/best_model.pt", str(place)],
        cwd=place, env={"PYTHONPATH": str(place), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "nothing renders here" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr
    assert (place / "arrangement.png").is_file()
    assert (place / "repaired_1.png").is_file()

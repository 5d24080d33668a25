"""The command refuses what does not fit before anything runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "nothing to search"),
        (("-S", "train.lr=loguniform(0,1)"), "expected 0 < low < high"),
        (("-S", "train.lrr=uniform(0,1)"), "did you mean train.lr"),
    ],
)
def test_mistakes_are_one_line(arguments: tuple[str, ...], words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "search", *arguments],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.strip().splitlines()) == 1
    assert words in done.stderr

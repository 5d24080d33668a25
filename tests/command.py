"""Runs the command line in a child process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]


def run_pipeline(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m pipeline …` in the repository; it may fail."""
    return subprocess.run(
        [sys.executable, "-m", "pipeline", *arguments],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip


def refusal(*arguments: str) -> str:
    """Run a command that must fail with an error of one line, and return that error."""
    done = run_pipeline(*arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.strip().splitlines()) == 1
    return done.stderr

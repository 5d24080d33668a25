"""The command as people type it, in a process of its own, here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]


def run_pipeline(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`python -m pipeline …` in the repository; it may fail."""
    return subprocess.run(
        [sys.executable, "-m", "pipeline", *arguments],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip


def refusal(*arguments: str) -> str:
    """What a command says that must fail: an error of one line."""
    done = run_pipeline(*arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.strip().splitlines()) == 1
    return done.stderr

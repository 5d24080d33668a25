"""One line of `doctor`: what was found of a part of this machine, and what to type.

Knows no part; stages.doctor and containers do.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "absent", "problem"]
TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Line:
    """What is known of one part."""

    part: str
    status: Status
    found: str
    remedy: str = ""
    """What to type or to do; empty where nothing is needed."""


def ask(*command: str) -> tuple[int, str]:
    """Run a command that only looks.

    Args:
        command: name and arguments.

    Returns:
        Exit status and what was said, with the complaints where it failed; 1 and the reason where
        the command is missing or does not answer within 20 s.
    """
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return 1, str(error)
    return done.returncode, done.stdout + (done.stderr if done.returncode else "")

"""One line of `doctor`: the result of a check and how to fix a problem."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "absent", "problem"]
TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Line:
    """The result of checking one part."""

    part: str
    status: Status
    found: str
    remedy: str = ""
    """Command or action that fixes the problem; empty if nothing is needed."""


def ask(*command: str) -> tuple[int, str]:
    """Run a command that changes nothing.

    Args:
        command: name and arguments.

    Returns:
        Exit status and output, with its errors if it failed. If the command is missing or does not
        end within `TIMEOUT_S`, 1 and the reason.
    """
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return 1, str(error)
    return done.returncode, done.stdout + (done.stderr if done.returncode else "")

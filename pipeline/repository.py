"""Runs the commands of Git and DVC in a repository, in child processes.

`experiments` and `release` use it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import PipelineError

DVC = (sys.executable, "-m", "dvc")
"""DVC of this environment, regardless of the PATH."""


class RepositoryError(PipelineError):
    """A repository is in the wrong state, or Git or DVC failed."""


@dataclass(frozen=True)
class Checkout:
    """The work tree of a repository."""

    root: Path

    @property
    def environment(self) -> dict[str, str]:
        """Environment of all commands, in which `python` is the present interpreter."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        return {**os.environ, "PATH": path}

    def ask(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command that may fail.

        Args:
            command: program and arguments; "dvc" is that of this environment.
        """
        words = [*DVC, *command[1:]] if command[0] == "dvc" else [*command]
        return subprocess.run(
            words, cwd=self.root, env=self.environment, capture_output=True, text=True,
            errors="replace", check=False,
        )  # fmt: skip

    def output(self, *command: str) -> str:
        """Run a command and return its standard output unchanged.

        Args:
            command: see `ask`.

        Raises:
            RepositoryError: the command failed; the message holds its last lines.
        """
        done = self.ask(*command)
        if done.returncode:
            reason = last_lines(done.stderr, 3) or f"status {done.returncode}"
            raise RepositoryError(f"{self.root}: {' '.join(command)}: {reason}")
        return done.stdout

    def head(self) -> str:
        """Return the hash of the checked-out commit.

        Raises:
            RepositoryError: there is no repository, or it has no commit.
        """
        return self.output("git", "rev-parse", "HEAD").strip()


def last_lines(text: str, number: int) -> str:
    """Join the last lines of a command's output, without DVC's link to its support.

    Args:
        text: the output.
        number: number of lines to take, not counting empty ones.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " / ".join(line for line in lines[-number:] if "dvc.org/support" not in line)

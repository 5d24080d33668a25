"""A Git repository with DVC on this machine: commands in child processes, as a person types them.

Knows no experiments and no versions; `sweeps` and `release` build on it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import PipelineError

DVC = (sys.executable, "-m", "dvc")
"""DVC of this environment, whatever stands on the PATH."""


class RepositoryError(PipelineError):
    """A repository is not in the state that is needed, or Git or DVC failed."""


@dataclass(frozen=True)
class Checkout:
    """The work tree of a repository."""

    root: Path

    @property
    def environment(self) -> dict[str, str]:
        """Of every command: stages and hooks run the `python` that runs this."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        return {**os.environ, "PATH": path}

    def ask(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command whose failure is an answer.

        Args:
            command: its words; "dvc" is that of this interpreter.
        """
        words = [*DVC, *command[1:]] if command[0] == "dvc" else [*command]
        return subprocess.run(
            words, cwd=self.root, env=self.environment, capture_output=True, text=True,
            errors="replace", check=False,
        )  # fmt: skip

    def output(self, *command: str) -> str:
        """What a command wrote to standard output, as it is.

        Args:
            command: as for `ask`.

        Raises:
            RepositoryError: it failed; its last lines.
        """
        done = self.ask(*command)
        if done.returncode:
            said = last_lines(done.stderr, 3) or f"status {done.returncode}"
            raise RepositoryError(f"{self.root}: {' '.join(command)}: {said}")
        return done.stdout

    def head(self) -> str:
        """The commit that is checked out.

        Raises:
            RepositoryError: no repository, or one without a commit.
        """
        return self.output("git", "rev-parse", "HEAD").strip()


def last_lines(text: str, number: int) -> str:
    """The end of what a command said, on one line, without DVC's invitation to its support.

    Args:
        text: its output.
        number: of lines that are not empty.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " / ".join(line for line in lines[-number:] if "dvc.org/support" not in line)

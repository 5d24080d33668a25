"""Real git and DVC repositories for tests, cut off from the settings of whoever runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

NUM_FILES = 120
FILE_BYTES = 20_000
DVC_YAML = """
stages:
  make:
    cmd: python make.py
    deps: [make.py]
    params: [seed]
    outs: [artifacts/make]
  count:
    cmd: python count.py
    deps: [count.py, artifacts/make]
    outs: [artifacts/count]
"""
MAKE = f"""
import os, random, pathlib, yaml
with open(os.environ["RUNS"], "a") as runs:
    runs.write("make\\n")
draw = random.Random(yaml.safe_load(open("params.yaml"))["seed"])
folder = pathlib.Path("artifacts/make")
folder.mkdir(parents=True)
for index in range({NUM_FILES}):
    (folder / f"{{index}}.0").write_bytes(draw.randbytes({FILE_BYTES}))
"""
COUNT = """
import os, pathlib
with open(os.environ["RUNS"], "a") as runs:
    runs.write("count\\n")
folder = pathlib.Path("artifacts/count")
folder.mkdir(parents=True)
sizes = [path.stat().st_size for path in pathlib.Path("artifacts/make").iterdir()]
(folder / "count.json").write_text(str(sum(sizes)))
"""


def isolated(home: Path) -> dict[str, str]:
    """An environment in which git, ssh, S3 and DVC find nothing of the user's.

    Args:
        home: stands in for the home folder; also holds DVC's caches.
    """
    home.mkdir(parents=True, exist_ok=True)
    (home / "gitconfig").write_text(
        "[user]\n name = Test\n email = test@example.org\n[init]\n defaultBranch = main\n"
        '[protocol "file"]\n allow = always\n'
    )
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("AWS_", "SSH_", "GIT_", "DVC_", "XDG_"))
    }
    return kept | {
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "GIT_CONFIG_GLOBAL": str(home / "gitconfig"),
        "GIT_CONFIG_NOSYSTEM": "1",
        "DVC_SITE_CACHE_DIR": str(home / "site"),
        "DVC_GLOBAL_CONFIG_DIR": str(home / "global"),
        "DVC_SYSTEM_CONFIG_DIR": str(home / "system"),
        "DVC_NO_ANALYTICS": "1",
        "RUNS": str(home / "runs"),
        # Or DVC tries each file for a quarter minute where the S3 server is gone.
        "AWS_MAX_ATTEMPTS": "1",
    }


@dataclass(frozen=True)
class Project:
    """A repository and the environment in which its commands run."""

    root: Path
    environment: dict[str, str]

    def ask(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command whose failure is an answer; dvc is that of this interpreter."""
        words = [sys.executable, "-m", *command] if command[0] == "dvc" else [*command]
        return subprocess.run(
            words,
            cwd=self.root,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def run(self, *command: str) -> str:
        """Run a command that must not fail."""
        done = self.ask(*command)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def clone(self, root: Path) -> Project:
        """A fresh clone: no data, no cache. Local settings (keys) go along, as a user sets them."""
        self.run("git", "clone", "-q", str(self.root), str(root))
        local = self.root / ".dvc/config.local"
        if local.exists():
            (root / ".dvc/config.local").write_text(local.read_text())
        return Project(root, self.environment)

    def commit(self, subject: str) -> None:
        """Commit everything."""
        self.run("git", "add", "-A")
        self.run("git", "commit", "-q", "-m", subject)

    def content(self) -> dict[str, bytes]:
        """Every result by its path."""
        folder = self.root / "artifacts"
        return {
            str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }

    def runs(self) -> list[str]:
        """Stages that ran, in all repositories of this environment."""
        log = Path(self.environment["RUNS"])
        return log.read_text().split() if log.exists() else []


def create(root: Path, environment: dict[str, str]) -> Project:
    """A git and DVC repository without a commit.

    Args:
        root: folder to make.
        environment: see `isolated`.
    """
    root.mkdir(parents=True)
    project = Project(root, environment)
    project.run("git", "init", "-q")
    project.run("dvc", "init", "-q")
    (root / ".gitignore").write_text("/artifacts/\n/.state/\n__pycache__/\n")
    return project


def two_stages(root: Path, environment: dict[str, str]) -> Project:
    """A committed project of two stages that ran, the first with many files, as a zarr has.

    Args:
        root: folder to make.
        environment: see `isolated`.
    """
    project = create(root, environment)
    for name, text in {
        "dvc.yaml": DVC_YAML,
        "make.py": MAKE,
        "count.py": COUNT,
        "params.yaml": "seed: 0\n",
    }.items():
        (root / name).write_text(text)
    project.run("dvc", "repro", "-q")
    project.commit("Make and count")
    return project

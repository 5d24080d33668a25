"""Git and DVC as a sweep uses them: commands in child processes, experiments by their names.

A run's name is a hash of all that it depends on, so a run that exists is one that need not be made.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.experiments.grid import FILE, Point, flatten, grid, with_values
from pipeline.params import Params, load_params
from pipeline.repository import Checkout

PREFIX = "sweep-"
LOCK_FILE = "dvc.lock"


@dataclass(frozen=True)
class Run:
    """A point and the name of the experiment that holds, or will hold, its results."""

    name: str
    point: Point

    @property
    def command(self) -> tuple[str, ...]:
        """What `dvc exp run` takes to make it."""
        settings = (part for setting in self.point.settings for part in ("-S", setting))
        return ("--name", self.name, *settings)


@dataclass(frozen=True)
class Experiment:
    """What DVC knows of an experiment, or of the commit that experiments start from."""

    name: str
    params: Mapping[str, Any]
    """By dotted key."""
    metrics: Mapping[str, float]
    """By dotted key, of all metrics files together, each file's folder before its keys."""


@dataclass(frozen=True)
class Repository(Checkout):
    """A Git repository with a DVC pipeline."""

    @property
    def state(self) -> Path:
        """Where sweeps keep logs and what they must remember; ignored by Git."""
        return self.root / ".state" / "sweep"

    def params(self) -> Params:
        """What stands in params.yaml now."""
        return load_params(self.root / FILE)

    def git(self, *arguments: str) -> str:
        """Output of a Git command.

        Args:
            arguments: of `git`.

        Raises:
            RepositoryError: it fails.
        """
        return self.output("git", *arguments)

    def dvc(self, *arguments: str) -> str:
        """Output of a DVC command.

        Args:
            arguments: of `dvc`.

        Raises:
            RepositoryError: it fails.
        """
        return self.output("dvc", *arguments)

    def names(self) -> set[str]:
        """Names of the finished experiments on this commit, without starting DVC."""
        head = self.head()
        folder = f"refs/exps/{head[:2]}/{head[2:]}/"
        found = self.git("for-each-ref", "--format=%(refname)", folder).split()
        return {reference.removeprefix(folder) for reference in found}

    def runs(self, settings: Sequence[str]) -> list[Run]:
        """The runs that a sweep asks for.

        Args:
            settings: after -S, see `grid`.

        Raises:
            SettingError: one does not fit params.yaml.
        """
        params = self.params()
        return self.name(grid(settings, params), params)

    def name(self, points: Sequence[Point], params: Params) -> list[Run]:
        """Names of points: commit, uncommitted changes and all parameters decide.

        Args:
            points: changes of params.yaml.
            params: what they change.
        """
        changes = ("diff", "HEAD", "--binary", "--", ".", f":!{FILE}", f":!{LOCK_FILE}")
        base = f"{self.head()}\n{self.git(*changes)}\n"
        runs = []
        for point in points:
            chosen = with_values(params, point.values).model_dump(mode="json")
            text = base + json.dumps(chosen, sort_keys=True)
            digest = hashlib.sha256(text.encode()).hexdigest()
            runs.append(Run(PREFIX + digest[:10], point))
        return runs

    def experiments(self) -> list[Experiment]:
        """The commit itself and the finished experiments on it, parameters and metrics included.

        Raises:
            RepositoryError: DVC cannot read them.
        """
        finished = self.names()
        for entry in json.loads(self.dvc("exp", "show", "--json")):
            if entry["rev"] != "workspace":
                found = [_experiment(entry)]
                for item in entry.get("experiments") or []:
                    # Those that wait, run or failed are listed too, with the commit's metrics.
                    if item.get("name") in finished:
                        found += [_experiment(revision) for revision in item["revs"][:1]]
                return [experiment for experiment in found if experiment is not None]
        return []


def _experiment(entry: Mapping[str, Any]) -> Experiment | None:
    data = entry.get("data")
    if not data:
        return None
    params = data.get("params", {}).get(FILE, {}).get("data", {})
    metrics: dict[str, float] = {}
    for path, content in data.get("metrics", {}).items():
        folder = Path(path).parent.name
        for key, value in flatten(content.get("data") or {}).items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                metrics[f"{folder}.{key}"] = float(value)
    return Experiment(entry.get("name") or entry["rev"][:7], flatten(params), metrics)

"""Git and DVC as sweeps use them: commands in child processes, and experiments by name.

The name of a run is a hash of everything that it depends on. A run whose experiment exists does not
need to be run again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipeline.experiments.grid import FILE, Point, flatten, grid, with_values
from pipeline.params import Params, load_params
from pipeline.repository import Checkout

PREFIX = "sweep-"
LOCK_FILE = "dvc.lock"


@dataclass(frozen=True)
class Run:
    """A point and the name of the experiment for its results."""

    name: str
    point: Point

    def __str__(self) -> str:
        """Name and changed parameters, for the console."""
        return f"{self.name} {self.point.label}"

    @property
    def command(self) -> tuple[str, ...]:
        """Arguments of `dvc exp run` for this run."""
        settings = (part for setting in self.point.settings for part in ("-S", setting))
        return ("--name", self.name, *settings)


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    run: Run
    state: Literal["done", "existing", "failed"]
    reason: str = ""
    """Why it failed."""

    def __str__(self) -> str:
        """One line for the console."""
        return f"{self.run}: {self.state} {self.reason}".rstrip()


@dataclass(frozen=True)
class Experiment:
    """Parameters and metrics of an experiment, or of the commit that experiments start from."""

    name: str
    params: Mapping[str, Any]
    """By dotted key."""
    metrics: Mapping[str, float]
    """By dotted key, from all metrics files; each key starts with the file's folder."""


@dataclass(frozen=True)
class Repository(Checkout):
    """A Git repository with a DVC pipeline."""

    @property
    def state(self) -> Path:
        """Folder for logs, locks and other state of sweeps; Git ignores it."""
        return self.root / ".state" / "sweep"

    def params(self) -> Params:
        """Load the present params.yaml."""
        return load_params(self.root / FILE)

    def names(self) -> set[str]:
        """List the finished experiments on this commit by name, without starting DVC."""
        head = self.head()
        folder = f"refs/exps/{head[:2]}/{head[2:]}/"
        found = self.output("git", "for-each-ref", "--format=%(refname)", folder).split()
        return {reference.removeprefix(folder) for reference in found}

    def runs(self, settings: Sequence[str]) -> list[Run]:
        """List the runs of a sweep.

        Args:
            settings: values of -S, see `grid`.

        Raises:
            SettingError: a setting does not match params.yaml.
        """
        params = self.params()
        return self.named_runs(grid(settings, params), params)

    def named_runs(self, points: Sequence[Point], params: Params) -> list[Run]:
        """Name points by a hash of commit, uncommitted changes and all parameters.

        Args:
            points: changes of params.yaml.
            params: the parameters that they change.
        """
        changes = ("diff", "HEAD", "--binary", "--", ".", f":!{FILE}", f":!{LOCK_FILE}")
        base = f"{self.head()}\n{self.output('git', *changes)}\n"
        runs = []
        for point in points:
            chosen = with_values(params, point.values).model_dump(mode="json")
            text = base + json.dumps(chosen, sort_keys=True)
            digest = hashlib.sha256(text.encode()).hexdigest()
            runs.append(Run(PREFIX + digest[:10], point))
        return runs

    def split_existing(self, runs: Sequence[Run]) -> tuple[list[Outcome], list[Run]]:
        """Separate runs whose experiments exist from those that are missing.

        Args:
            runs: of a sweep.

        Returns:
            Outcomes of the existing runs, and the missing runs.
        """
        names = self.names()
        existing = [Outcome(run, "existing") for run in runs if run.name in names]
        return existing, [run for run in runs if run.name not in names]

    def experiments(self) -> list[Experiment]:
        """Read the present commit and the finished experiments on it.

        Raises:
            RepositoryError: DVC cannot read them.
        """
        finished = self.names()
        for entry in json.loads(self.output("dvc", "exp", "show", "--json")):
            if entry["rev"] != "workspace":
                found = [_experiment(entry)]
                for item in entry.get("experiments") or []:
                    # Queued, running and failed ones are listed too, with the commit's metrics.
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

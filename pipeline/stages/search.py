"""Command search: Optuna proposes parameters, the chain evaluates them; then a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.experiments.comparison import report
from pipeline.experiments.dvc import Repository
from pipeline.experiments.search import SearchOptions, search
from pipeline.experiments.search_space import parse_space


def run(settings: Sequence[str], out: Path, options: SearchOptions) -> None:
    """Search and compare the trials.

    Args:
        settings: values of -S: key=loguniform(1e-5,1e-3) and the like.
        out: folder for comparison.png and comparison.csv.
        options: metric, number of trials, storage.

    Raises:
        SettingError: a setting does not match params.yaml; nothing has run.
        SearchError: Optuna is missing, or the storage cannot be opened.
        PipelineError: Git or DVC fails.
    """
    repository = Repository(Path.cwd())
    space = parse_space(settings, repository.params())
    names = search(repository, space, options)
    report(repository, names, out, options.metric, options.minimize)

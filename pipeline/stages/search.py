"""Search: Optuna proposes parameters, the chain answers; then a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.experiments.dvc import Repository
from pipeline.experiments.search import SearchOptions, search
from pipeline.experiments.search_space import parse_space
from pipeline.experiments.showing import show


def run(settings: Sequence[str], out: Path, options: SearchOptions) -> None:
    """Search and compare the trials.

    Args:
        settings: after -S: key=loguniform(1e-5,1e-3) and the like.
        out: folder for comparison.png and comparison.csv.
        options: metric, number of trials, storage.

    Raises:
        SettingError: a setting does not fit params.yaml; nothing has run.
        SearchError: Optuna is missing, or the storage cannot be opened.
        PipelineError: Git or DVC cannot do it.
    """
    repository = Repository(Path.cwd())
    space = parse_space(settings, repository.params())
    names = search(repository, space, options)
    show(repository, names, out, options.metric, options.least)

"""Adaptive search: Optuna proposes, `dvc exp run` in the workspace answers.

Trials are kept in SQLite or PostgreSQL, so a search goes on where it was interrupted.
"""

from __future__ import annotations

import hashlib
import json
import socket
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from pipeline.errors import PipelineError
from pipeline.experiments.comparison import metric_key
from pipeline.experiments.dvc import Repository
from pipeline.experiments.grid import Point
from pipeline.experiments.loop import run_here, terminated_as_interrupted
from pipeline.experiments.search_space import Space, draw_point
from pipeline.experiments.workspace import Workspace, own_workspace
from pipeline.params import Params
from pipeline.run import console

WORKER = "worker"
RUN = "run"
FAILED = "failed"
"""Attributes of a trial: who made it, its experiment, and whether that failed."""


class SearchError(PipelineError):
    """A search cannot start or go on."""


@dataclass(frozen=True)
class SearchOptions:
    """How a search goes."""

    metric: str
    """What is made best, by its whole key or the end of one."""
    least: bool
    trials: int
    """In all, those of earlier commands included."""
    seed: int
    storage: str | None
    """SQLAlchemy's URL; None is SQLite in .state/sweep."""
    study: str | None
    """Its name in the storage; None makes one of commit, space and metric."""


def search(repository: Repository, space: Space, options: SearchOptions) -> set[str]:
    """Make trials until there are as many as asked for.

    Args:
        repository: whose workspace is used; it is as before afterwards.
        space: of the parameters.
        options: metric, number, storage.

    Returns:
        Names of the experiments.

    Raises:
        SearchError: Optuna or its driver is missing, or the storage cannot be opened.
        KeyboardInterrupt: Ctrl-C or SIGTERM; the same command goes on.
    """
    worker = f"{socket.gethostname()}:{repository.root.resolve()}"
    with (
        ExitStack() as resources,
        own_workspace(repository) as workspace,
        terminated_as_interrupted(),
    ):
        params = repository.params()
        study = _open(repository, space, options, params, resources)
        _take_back(study, worker)
        while (done := _finished(study)) < options.trials:
            trial = study.ask()
            trial.set_user_attr(WORKER, worker)
            console.print(f"{done + 1}/{options.trials} trial {trial.number}")
            _answer(study, trial, workspace, draw_point(space, trial), params, options)
        return {trial.user_attrs[RUN] for trial in study.trials if RUN in trial.user_attrs}


def best_text(values: dict[str, Any], value: float) -> str:
    """The best trial for people.

    Args:
        values: by dotted key.
        value: of the metric.
    """
    return f"{value:.6g} with " + " ".join(f"{key}={item}" for key, item in values.items())


def _answer(
    study: Any,
    trial: Any,
    workspace: Workspace,
    point: Point,
    params: Params,
    options: SearchOptions,
) -> None:
    """Run one trial's point, or take the experiment that is there, and tell its value."""
    from optuna.trial import TrialState

    repository = workspace.repository
    (run,) = repository.name([point], params)
    trial.set_user_attr(RUN, run.name)
    console.print(f"  {run.name} {run.point.label}")
    if run.name not in repository.names():
        outcome = run_here(workspace, run)
        if outcome.state == "failed":
            trial.set_user_attr(FAILED, True)
            study.tell(trial, state=TrialState.FAIL)
            return
    # An unknown metric leaves the trial open: with another one the same experiment answers it.
    found = [item for item in repository.experiments() if item.name == run.name]
    value = found[0].metrics[metric_key(options.metric, found)]
    study.tell(trial, value)
    console.print(
        f"  {options.metric} {value:.6g}; best {best_text(study.best_params, study.best_value)}"
    )


def _open(
    repository: Repository,
    space: Space,
    options: SearchOptions,
    params: Params,
    resources: ExitStack,
) -> Any:
    """The study; its connections are closed with `resources`."""
    try:
        import optuna
    except ImportError as error:
        raise SearchError("optuna is not installed; pip install optuna, or .[search]") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = options.storage
    if storage is None:
        repository.state.mkdir(parents=True, exist_ok=True)
        storage = f"sqlite:///{(repository.state / 'trials.db').resolve()}"
    if storage.startswith("postgresql://"):
        storage = storage.replace("postgresql://", "postgresql+psycopg://", 1)
    name = options.study or _study_name(repository, space, options, params)
    try:
        kept = optuna.storages.RDBStorage(storage)
        resources.callback(kept.engine.dispose)
        resources.callback(kept.remove_session)
        study = optuna.create_study(
            study_name=name,
            storage=kept,
            load_if_exists=True,
            direction="minimize" if options.least else "maximize",
        )
    except ImportError as error:
        raise SearchError(f"{error}; pip install '.[search]' brings PostgreSQL's driver") from error
    except Exception as error:
        # SQLAlchemy's errors are of many kinds and may go on to quote the URL, password included.
        raise SearchError(
            f"storage cannot be opened ({str(error).splitlines()[0]}); expected sqlite:///FILE or "
            "postgresql://USER:PASSWORD@HOST/DATABASE"
        ) from error
    # The same seed would propose the same trials again whenever a search goes on.
    study.sampler = optuna.samplers.TPESampler(seed=options.seed + len(study.trials))
    console.print(f"Study {name}: {_finished(study)} of {options.trials} trials are there")
    return study


def _study_name(
    repository: Repository, space: Space, options: SearchOptions, params: Params
) -> str:
    content = [
        repository.head(),
        params.model_dump(mode="json"),
        repr(sorted(space.items())),
        options.metric,
        options.least,
    ]
    return "search-" + hashlib.sha256(json.dumps(content).encode()).hexdigest()[:10]


def _take_back(study: Any, worker: str) -> None:
    """Queue trials that a killed search of this workspace left half done; others may be at work."""
    from optuna.trial import TrialState

    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        if trial.user_attrs.get(WORKER) == worker:
            if trial.params:
                study.enqueue_trial(trial.params)
            study.tell(trial.number, state=TrialState.FAIL)


def _finished(study: Any) -> int:
    """Trials that were answered; failed ones count, or a search of nothing but them had no end."""
    from optuna.trial import TrialState

    return sum(
        trial.state == TrialState.COMPLETE or FAILED in trial.user_attrs for trial in study.trials
    )

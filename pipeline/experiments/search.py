"""Adaptive search: Optuna proposes parameters, and `dvc exp run` in the workspace evaluates them.

SQLite or PostgreSQL keeps the trials, so an interrupted search can be continued.
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
from pipeline.experiments.search_space import Space, draw_point
from pipeline.experiments.sequential import interrupted_by_sigterm, run_in_workspace
from pipeline.experiments.workspace import Workspace, locked_workspace
from pipeline.params import Params
from pipeline.run import console

WORKER = "worker"
RUN = "run"
FAILED = "failed"
"""Attributes of a trial: the worker, the name of its experiment, and whether that failed."""


class SearchError(PipelineError):
    """A search cannot start or continue."""


@dataclass(frozen=True)
class SearchOptions:
    """Settings of a search."""

    metric: str
    """Metric to optimise, see `metric_key`."""
    minimize: bool
    trials: int
    """Total number of trials, including those of earlier commands."""
    seed: int
    storage: str | None
    """SQLAlchemy URL; None is SQLite in .state/sweep."""
    study: str | None
    """Name in the storage; None derives one from commit, parameters, space and metric."""


def search(repository: Repository, space: Space, options: SearchOptions) -> set[str]:
    """Run trials until their total number is reached.

    Args:
        repository: whose workspace is used; it is restored afterwards.
        space: distributions of the parameters.
        options: metric, number of trials, storage.

    Returns:
        Names of the experiments.

    Raises:
        SearchError: Optuna or its driver is missing, or the storage cannot be opened.
        KeyboardInterrupt: Ctrl-C or SIGTERM; the same command continues the search.
    """
    worker = f"{socket.gethostname()}:{repository.root.resolve()}"
    with (
        ExitStack() as resources,
        locked_workspace(repository) as workspace,
        interrupted_by_sigterm(),
    ):
        params = repository.params()
        study = _open(repository, space, options, params, resources)
        _requeue_interrupted(study, worker)
        while (done := _count_finished(study)) < options.trials:
            trial = study.ask()
            trial.set_user_attr(WORKER, worker)
            console.print(f"{done + 1}/{options.trials} trial {trial.number}")
            _evaluate(study, trial, workspace, space, params, options.metric)
        return {trial.user_attrs[RUN] for trial in study.trials if RUN in trial.user_attrs}


def _evaluate(
    study: Any, trial: Any, workspace: Workspace, space: Space, params: Params, metric: str
) -> None:
    """Run a trial, unless its experiment exists, and tell the study the value of the metric."""
    from optuna.trial import TrialState

    repository = workspace.repository
    (run,) = repository.named_runs([draw_point(space, trial)], params)
    trial.set_user_attr(RUN, run.name)
    console.print(f"  {run}")
    if run.name not in repository.names():
        outcome = run_in_workspace(workspace, run)
        if outcome.state == "failed":
            trial.set_user_attr(FAILED, True)
            study.tell(trial, state=TrialState.FAIL)
            return
    # An unknown metric leaves the trial open, so that another metric can use its experiment.
    found = [item for item in repository.experiments() if item.name == run.name]
    value = found[0].metrics[metric_key(metric, found)]
    study.tell(trial, value)
    best = " ".join(f"{key}={item}" for key, item in study.best_params.items())
    console.print(f"  {metric} {value:.6g}; best {study.best_value:.6g} with {best}")


def _open(
    repository: Repository,
    space: Space,
    options: SearchOptions,
    params: Params,
    resources: ExitStack,
) -> Any:
    """Open or create the study; `resources` closes its connections."""
    try:
        import optuna
    except ImportError as error:
        raise SearchError("optuna is not installed; pip install optuna, or .[search]") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    url = options.storage
    if url is None:
        repository.state.mkdir(parents=True, exist_ok=True)
        url = f"sqlite:///{(repository.state / 'trials.db').resolve()}"
    if url.startswith("postgresql://"):
        url = url.replace("postgresql://", "postgresql+psycopg://", 1)
    name = options.study or _study_name(repository, space, options, params)
    try:
        storage = optuna.storages.RDBStorage(url)
        resources.callback(storage.engine.dispose)
        resources.callback(storage.remove_session)
        study = optuna.create_study(
            study_name=name,
            storage=storage,
            load_if_exists=True,
            direction="minimize" if options.minimize else "maximize",
        )
    except ImportError as error:
        raise SearchError(f"{error}; pip install '.[search]' installs the driver") from error
    except Exception as error:
        # SQLAlchemy has many kinds of errors, and later lines may quote the URL with its password.
        raise SearchError(
            f"storage cannot be opened ({str(error).splitlines()[0]}); expected sqlite:///FILE or "
            "postgresql://USER:PASSWORD@HOST/DATABASE"
        ) from error
    # With the same seed a continued search would propose its first trials again.
    study.sampler = optuna.samplers.TPESampler(seed=options.seed + len(study.trials))
    console.print(f"Study {name}: {_count_finished(study)} of {options.trials} trials are done")
    return study


def _study_name(
    repository: Repository, space: Space, options: SearchOptions, params: Params
) -> str:
    content = [
        repository.head(), params.model_dump(mode="json"), repr(sorted(space.items())),
        options.metric, options.minimize,
    ]  # fmt: skip
    return "search-" + hashlib.sha256(json.dumps(content).encode()).hexdigest()[:10]


def _requeue_interrupted(study: Any, worker: str) -> None:
    """Queue the unfinished trials of this workspace again. Other workers' trials may be running."""
    from optuna.trial import TrialState

    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        if trial.user_attrs.get(WORKER) == worker:
            if trial.params:
                study.enqueue_trial(trial.params)
            study.tell(trial.number, state=TrialState.FAIL)


def _count_finished(study: Any) -> int:
    """Count finished trials. Failed ones count too; otherwise a search might never end."""
    from optuna.trial import TrialState

    return sum(
        trial.state == TrialState.COMPLETE or FAILED in trial.user_attrs for trial in study.trials
    )

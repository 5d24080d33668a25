"""Optuna with real DVC: an interrupted search can be continued, in SQLite and in PostgreSQL."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import pytest

from pipeline.experiments import search as module
from pipeline.experiments.comparison import ComparisonError
from pipeline.experiments.dvc import Experiment, Outcome, Repository, Run
from pipeline.experiments.search import SearchError, SearchOptions, search
from pipeline.experiments.search_space import parse_space
from pipeline.experiments.workspace import Workspace

SPACE = ["train.lr=loguniform(1e-4,1e-2)"]


def _options(trials: int, **changes: object) -> SearchOptions:
    values = {
        "metric": "success_strict",
        "minimize": False,
        "seed": 0,
        "storage": None,
        "study": "s",
    }
    return SearchOptions(trials=trials, **(values | changes))  # type: ignore[arg-type]


def _trials(tiny: Repository) -> list[optuna.trial.FrozenTrial]:
    storage = optuna.storages.RDBStorage(f"sqlite:///{tiny.state / 'trials.db'}")
    trials = optuna.load_study(study_name="s", storage=storage).trials
    storage.remove_session()
    storage.engine.dispose()
    return trials


def test_an_interrupted_search_can_be_continued(
    tiny: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = parse_space(SPACE, tiny.params())
    real = module.run_in_workspace

    def interrupted(workspace: Workspace, run: Run) -> Outcome:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "run_in_workspace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        search(tiny, space, _options(1))
    monkeypatch.setattr(module, "run_in_workspace", real)
    # After an error about the metric, the next command uses the experiment that was run.
    with pytest.raises(ComparisonError, match="'speed' is unknown"):
        search(tiny, space, _options(1, metric="speed"))
    assert len(names := tiny.names()) == 1
    assert search(tiny, space, _options(1)) == names
    states = [trial.state.name for trial in _trials(tiny)]
    assert states == ["FAIL", "FAIL", "COMPLETE"]
    first, *_, last = _trials(tiny)
    assert first.params == last.params, "the interrupted trial runs again"
    assert last.value == pytest.approx(1 - abs(last.params["train.lr"] - 1e-3) * 100, abs=0.003)
    # All trials exist, so nothing runs.
    monkeypatch.setattr(module, "run_in_workspace", interrupted)
    assert search(tiny, space, _options(1)) == names
    assert (tiny.root / "params.yaml").read_text().count("lr: 1e-3") == 1


def test_failed_trials_count_and_later_proposals_differ(
    tiny: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(workspace: Workspace, run: Run) -> Outcome:
        return Outcome(run, "failed", "on purpose")

    monkeypatch.setattr(module, "run_in_workspace", failing)
    space = parse_space(SPACE, tiny.params())
    search(tiny, space, _options(2))
    search(tiny, space, _options(4))
    trials = _trials(tiny)
    assert [trial.state.name for trial in trials] == ["FAIL"] * 4
    assert len({trial.params["train.lr"] for trial in trials}) == 4


@pytest.mark.parametrize(("minimize", "best"), [(False, max), (True, min)])
def test_the_best_trial_has_the_largest_or_the_smallest_value(
    tiny: Repository, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    minimize: bool, best: Callable[[list[float]], float],
) -> None:  # fmt: skip
    found: list[Experiment] = []

    def run(workspace: Workspace, run: Run) -> Outcome:
        found.append(Experiment(run.name, {}, {"seconds": run.point.values["train.lr"]}))
        return Outcome(run, "done")

    monkeypatch.setattr(module, "run_in_workspace", run)
    monkeypatch.setattr(Repository, "experiments", lambda self: found)
    space = parse_space(SPACE, tiny.params())
    search(tiny, space, _options(4, metric="seconds", minimize=minimize))
    values = [experiment.metrics["seconds"] for experiment in found]
    assert len(set(values)) == 4
    printed = capsys.readouterr().out
    assert "4/4 trial 3" in printed
    assert f"best {best(values):.6g} with train.lr=" in printed.splitlines()[-1]


def test_the_error_of_a_wrong_storage_is_one_line(tiny: Repository) -> None:
    space = parse_space(SPACE, tiny.params())
    for storage in ("nonsense", "sqlite:////absent/folder/trials.db"):
        with pytest.raises(SearchError, match="storage cannot be opened"):
            search(tiny, space, _options(1, storage=storage))


@pytest.fixture
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL server of the test, on a socket in a temporary folder."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = shutil.which("initdb") or (str(programs[-1]) if programs else None)
    if found is None:
        pytest.skip("no PostgreSQL server is installed")
    prefix: list[str] = []
    folder = Path(subprocess.check_output(["mktemp", "-d", "/tmp/pgXXXXXX"], text=True).strip())
    if os.geteuid() == 0:
        try:
            pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("PostgreSQL refuses root and there is no user postgres")
        shutil.chown(folder, "postgres")
        prefix = ["runuser", "-u", "postgres", "--"]
    control = str(Path(found).resolve().with_name("pg_ctl"))

    def run(*command: str) -> None:
        done = subprocess.run(
            [*prefix, *command], cwd="/", capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr

    data = str(folder / "data")
    try:
        run(str(Path(found).resolve()), "-D", data, "-U", "search", "-A", "trust", "-N")
        options = f"-k {folder} -c listen_addresses= -c fsync=off"
        run(
            control,
            "-D",
            data,
            "-l",
            str(folder / "log"),
            "-w",
            "-t",
            "600",
            "-o",
            options,
            "start",
        )
        yield f"postgresql://search@/postgres?host={folder}"
        run(control, "-D", data, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


@pytest.mark.slow
def test_trials_in_postgresql(tiny: Repository, postgresql: str) -> None:
    space = parse_space(SPACE, tiny.params())
    first = search(tiny, space, _options(1, storage=postgresql))
    both = search(tiny, space, _options(2, storage=postgresql))
    assert first < both == tiny.names()
    assert not (tiny.state / "trials.db").exists()

"""Real jobs with submitit's local executor: each runs in a clone and pushes its experiment."""

from __future__ import annotations

import pytest

from pipeline.experiments import slurm
from pipeline.experiments.dvc import Repository
from pipeline.experiments.grid import SettingError
from pipeline.experiments.slurm import ClusterError, ClusterOptions, run_cluster

LOCAL = ClusterOptions(executor="local", cpus=1, hours=1.0)


@pytest.mark.slow
# submitit leaves the pipes of a local job to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_jobs_push_their_experiments(tiny: Repository) -> None:
    settings = ["train.seed=1,13,3"]
    outcomes = run_cluster(tiny, settings, 2, LOCAL)
    states = [outcome.state for outcome in outcomes]
    assert sorted(states) == ["done", "done", "failed"]
    (reason,) = [outcome.reason for outcome in outcomes if outcome.state == "failed"]
    assert "failed to reproduce 'evaluate'" in reason
    assert len(tiny.names()) == 2
    assert tiny.output("git", "status", "--porcelain") == ""
    found = [item for item in tiny.experiments() if item.name in tiny.names()]
    assert {item.params["train.seed"] for item in found} == {1, 3}
    assert all(item.metrics for item in found), "metrics come from the shared cache"
    # The clone of the failed job is kept for the next attempt.
    assert len(list((tiny.state / "clones").iterdir())) == 1
    again = [outcome.state for outcome in run_cluster(tiny, settings, 1, LOCAL)]
    assert sorted(again) == ["existing", "existing", "failed"]


def test_uncommitted_changes_are_rejected(tiny: Repository) -> None:
    (tiny.root / "stage.py").write_text("print('changed')\n")
    with pytest.raises(ClusterError, match=r"uncommitted changes of stage\.py; commit"):
        run_cluster(tiny, ["train.seed=1"], 1, LOCAL)


def test_without_a_cluster_nothing_runs(tiny: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm.shutil, "which", lambda name: None)
    with pytest.raises(ClusterError, match="sbatch is not on the PATH"):
        run_cluster(tiny, ["train.seed=1"], 1, ClusterOptions())
    with pytest.raises(SettingError):
        run_cluster(tiny, ["train.sead=1"], 1, LOCAL)

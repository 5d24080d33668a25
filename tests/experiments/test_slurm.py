"""Jobs for real, with submitit's local executor: a clone each, pushed back as experiments."""

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
def test_jobs_push_back_what_they_made(tiny: Repository) -> None:
    settings = ["train.seed=1,13,3"]
    states = [outcome.state for outcome in run_cluster(tiny, settings, 2, LOCAL)]
    assert sorted(states) == ["done", "done", "failed"]
    assert len(tiny.names()) == 2
    assert tiny.git("status", "--porcelain") == ""
    found = [item for item in tiny.experiments() if item.name in tiny.names()]
    assert {item.params["train.seed"] for item in found} == {1, 3}
    assert all(item.metrics for item in found), "metrics come from the shared cache"
    # The clone of the failed one stays, for the next try; the others are gone.
    assert len(list((tiny.state / "clones").iterdir())) == 1
    again = [outcome.state for outcome in run_cluster(tiny, settings, 1, LOCAL)]
    assert sorted(again) == ["failed", "was there", "was there"]


def test_what_a_clone_would_miss_is_refused(tiny: Repository) -> None:
    (tiny.root / "stage.py").write_text("print('changed')\n")
    with pytest.raises(ClusterError, match=r"not committed: stage\.py; commit it"):
        run_cluster(tiny, ["train.seed=1"], 1, LOCAL)


def test_without_a_cluster_nothing_runs(tiny: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm.shutil, "which", lambda name: None)
    with pytest.raises(ClusterError, match="sbatch is not on the PATH"):
        run_cluster(tiny, ["train.seed=1"], 1, ClusterOptions())
    with pytest.raises(SettingError):
        run_cluster(tiny, ["train.sead=1"], 1, LOCAL)

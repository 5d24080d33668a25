"""Jobs run in clones and push their experiments; Slurm gets their resources."""

from __future__ import annotations

import json
import os
import pickle
import sys
from pathlib import Path

import pytest

from pipeline.experiments import slurm
from pipeline.experiments.dvc import Repository
from pipeline.experiments.grid import SettingError
from pipeline.experiments.slurm import ClusterError, ClusterOptions, ExperimentJob, run_cluster

from .fake_dvc import FakeDvc

LOCAL = ClusterOptions(executor="local", cpus=1, hours=1.0)
SBATCH = f"""#!{sys.executable}
import pathlib, shutil, sys
folder = pathlib.Path(__file__).parents[1] / "submitted"
folder.mkdir(exist_ok=True)
number = 41 + len(list(folder.iterdir()))
shutil.copy(sys.argv[1], folder / str(number))
print("Submitted batch job", number)
"""
SACCT = f"""#!{sys.executable}
print("JobID|State|NodeList")
print("\\n".join(f"{{number}}|PENDING|" for number in range(41, 50)))
"""


@pytest.fixture
def submitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Slurm whose jobs never start, and the folder of the scripts that were submitted to it."""
    (tmp_path / "bin").mkdir()
    for name, text in {"sbatch": SBATCH, "sacct": SACCT, "srun": "#!/bin/sh\n"}.items():
        program = tmp_path / "bin" / name
        program.write_text(text)
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return tmp_path / "submitted"


def _submit(tiny: Repository, monkeypatch: pytest.MonkeyPatch, options: ClusterOptions) -> None:
    """Submit two runs, and press Ctrl-C instead of waiting for them."""

    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(slurm.time, "sleep", interrupted)
        run_cluster(tiny, ["train.seed=1,2"], 1, options)


def test_slurm_gets_the_resources_of_a_job(
    tiny: Repository, fake_dvc: FakeDvc, submitted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = ClusterOptions(partition="fast", gpus=2, cpus=3, memory_gb=7.0, hours=1.5)
    _submit(tiny, monkeypatch, chosen)
    (script,) = submitted.iterdir()
    lines = script.read_text().splitlines()
    for line in ("--partition=fast", "--gpus-per-node=2", "--cpus-per-task=3", "--mem=7GB",
                 "--time=90", "--array=0-1%1", "--job-name=sweep"):  # fmt: skip
        assert f"#SBATCH {line}" in lines


def test_a_job_that_waits_is_not_submitted_again(
    tiny: Repository, fake_dvc: FakeDvc, submitted: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    _submit(tiny, monkeypatch, ClusterOptions())
    assert "The jobs go on" in capsys.readouterr().out
    _submit(tiny, monkeypatch, ClusterOptions())
    (script,) = submitted.iterdir()
    assert "--partition" not in script.read_text() and "--gpus" not in script.read_text()
    output = capsys.readouterr().out
    assert "already job 41_0" in output and "already job 41_1" in output


def test_jobs_end_with_a_result_or_the_last_line_of_their_error(
    tiny: Repository, fake_dvc: FakeDvc, submitted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = tiny.runs(settings := ["train.seed=1,2"])
    trace = "Traceback\nClusterError: no space\n\n-----\nYou can check full logs with job.stderr()"

    def end(seconds: float) -> None:
        tiny.output("dvc", "exp", "run", "--name", good.name)
        for number, result in enumerate([("success", None), ("error", trace)]):
            path = tiny.state / f"jobs/41_{number}_0_result.pkl"
            path.write_bytes(pickle.dumps(result))

    monkeypatch.setattr(slurm.time, "sleep", end)
    outcomes = run_cluster(tiny, settings, 2, ClusterOptions())
    assert [(item.run, item.state, item.reason) for item in outcomes] == [
        (good, "done", ""), (bad, "failed", "ClusterError: no space"),
    ]  # fmt: skip


def test_what_exists_is_among_the_results(
    tiny: Repository, fake_dvc: FakeDvc, submitted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exists, new = tiny.runs(settings := ["train.seed=1,2"])
    tiny.output("dvc", "exp", "run", "--name", exists.name)
    tiny.output("git", "checkout", "--quiet", "params.yaml")

    def end(seconds: float) -> None:
        job_ids = json.loads((tiny.state / "jobs/submitted.json").read_text())
        result = tiny.state / f"jobs/{job_ids[new.name]}_0_result.pkl"
        result.write_bytes(pickle.dumps(("error", "lost")))

    monkeypatch.setattr(slurm.time, "sleep", end)
    outcomes = run_cluster(tiny, settings, 1, ClusterOptions())
    assert [(item.run, item.state) for item in outcomes] == [(exists, "existing"), (new, "failed")]


@pytest.fixture
def job(tiny: Repository, tmp_path: Path) -> ExperimentJob:
    """The job of a run that fails if the seed is 13."""
    (run,) = tiny.runs(["train.seed=13"])
    cache = tiny.root / ".dvc/cache"
    return ExperimentJob(run, tiny.root, tiny.head(), cache, tmp_path / "clones" / run.name)


def test_a_job_pushes_its_experiment_and_removes_its_clone(
    tiny: Repository, fake_dvc: FakeDvc, job: ExperimentJob, tmp_path: Path
) -> None:
    (run,) = tiny.runs(["train.seed=1"])
    good = ExperimentJob(run, job.origin, job.commit, job.cache, tmp_path / "clones" / run.name)
    good()
    assert tiny.names() == {run.name}
    assert not good.clone.exists()
    assert ["cache", "dir", "--local", str(job.cache)] in fake_dvc.calls()


def test_a_job_that_ends_early_runs_again_in_its_clone(
    tiny: Repository, fake_dvc: FakeDvc, job: ExperimentJob
) -> None:
    with pytest.raises(ClusterError, match="some output / thirteen is refused"):
        job()
    assert tiny.names() == set()
    state = job.clone / ".state"  # of an interrupted training
    state.mkdir()
    with pytest.raises(ClusterError, match="thirteen is refused"):
        pickle.loads(pickle.dumps(job.checkpoint())).function()
    assert state.exists()


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
    with (tiny.root / "dvc.yaml").open("a") as file:
        file.write("# mine\n")
    with pytest.raises(ClusterError, match=r"of dvc\.yaml, stage\.py; commit or discard them$"):
        run_cluster(tiny, ["train.seed=1"], 1, LOCAL)


def test_without_a_cluster_nothing_runs(tiny: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm.shutil, "which", lambda name: None)
    with pytest.raises(ClusterError, match=r"sbatch is not .* --slurm-local runs the same jobs"):
        run_cluster(tiny, ["train.seed=1"], 1, ClusterOptions())
    with pytest.raises(SettingError):
        run_cluster(tiny, ["train.sead=1"], 1, LOCAL)

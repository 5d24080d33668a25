"""Sequential runs with real DVC: existing ones are skipped, and a failure does not end the rest."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from pipeline.experiments.dvc import Repository
from pipeline.experiments.sequential import log_path, run_sequentially
from tests.conftest import HANG_S

from .fake_dvc import FakeDvc

ROOT = Path(__file__).parents[2]
DRIVER = """
import sys
from pathlib import Path
from pipeline.experiments.sequential import run_sequentially
from pipeline.experiments.dvc import Repository
repository = Repository(Path(sys.argv[1]))
run_sequentially(repository, sys.argv[2:])
"""


def test_a_grid_runs_once_and_the_workspace_is_restored(tiny: Repository) -> None:
    before = (tiny.root / "params.yaml").read_bytes()
    settings = ["train.seed=13,14", "train.lr=1e-3"]
    runs = tiny.runs(settings)
    first = run_sequentially(tiny, settings)
    assert [(outcome.run, outcome.state) for outcome in first] == [
        (runs[0], "failed"), (runs[1], "done"),
    ]  # fmt: skip
    assert "thirteen is refused" in log_path(tiny, runs[0]).read_text()
    assert first[0].reason
    assert tiny.names() == {runs[1].name}
    # A queued experiment is not a result.
    tiny.output("dvc", "exp", "run", "--queue", "--name", "waiting", "-S", "train.seed=15")
    assert [item.name for item in tiny.experiments()] == ["main", runs[1].name]
    tiny.output("dvc", "queue", "remove", "waiting")
    assert (tiny.root / "params.yaml").read_bytes() == before
    assert not (tiny.root / "dvc.lock").exists()
    assert tiny.output("git", "status", "--porcelain") == ""
    # A larger grid runs only its new points, and failed ones again.
    larger = run_sequentially(tiny, ["train.seed=14,15", "train.lr=1e-3"])
    assert [outcome.state for outcome in larger] == ["existing", "done"]


def test_a_termination_interrupts_the_run_and_restores_the_workspace(
    tiny: Repository, fake_dvc: FakeDvc
) -> None:
    before, handler = (tiny.root / "params.yaml").read_text(), signal.getsignal(signal.SIGTERM)
    fake_dvc.terminate_the_caller()
    (run, _) = tiny.runs(settings := ["train.seed=1,2"])
    with pytest.raises(KeyboardInterrupt):
        run_sequentially(tiny, settings)
    assert log_path(tiny, run).read_text() == "interrupted\n"
    assert len(fake_dvc.calls("exp", "run")) == 1
    assert (tiny.root / "params.yaml").read_text() == before
    assert signal.getsignal(signal.SIGTERM) == handler


def _drive(tiny: Repository, gate: Path, *settings: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(tiny.root), *settings],
        cwd=ROOT, env={**os.environ, "GATE": str(gate)}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def _wait_for_run(driver: subprocess.Popen[str], gate: Path, seed: int) -> None:
    """Return when the run of a seed waits at the gate."""
    while not (gate / f"seed_{seed}").exists():
        assert driver.poll() is None, driver.communicate()
        time.sleep(0.05)


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """A folder at which runs wait until it holds the file `open`."""
    (tmp_path / "gate").mkdir()
    return tmp_path / "gate"


@pytest.mark.slow
def test_an_interrupted_sweep_restores_the_workspace_and_can_be_continued(
    tiny: Repository, gate: Path
) -> None:
    (tiny.root / "params.yaml").write_text(
        before := (tiny.root / "params.yaml").read_text().replace("lr: 1e-3", "lr: 2e-3 # mine")
    )
    settings = ("train.seed=1,2",)
    runs = tiny.runs(settings)
    driver = _drive(tiny, gate, *settings)
    _wait_for_run(driver, gate, 1)
    driver.send_signal(signal.SIGTERM)
    output, _ = driver.communicate(timeout=HANG_S)
    assert "waiting for the current run to end" in output
    assert driver.returncode != 0
    assert (tiny.root / "params.yaml").read_text() == before
    assert tiny.names() == set()
    (gate / "open").touch()
    again = _drive(tiny, gate, *settings)
    again.communicate(timeout=HANG_S)
    assert again.returncode == 0
    assert tiny.names() == {run.name for run in runs}
    assert (tiny.root / "params.yaml").read_text() == before


@pytest.mark.slow
@pytest.mark.parametrize("everything", [False, True], ids=["sweep alone", "sweep and run"])
def test_a_killed_sweep_can_be_continued(tiny: Repository, gate: Path, everything: bool) -> None:
    before = (tiny.root / "params.yaml").read_text()
    settings = ("train.seed=1,2",)
    runs = tiny.runs(settings)
    driver = _drive(tiny, gate, *settings)
    _wait_for_run(driver, gate, 1)
    children = psutil.Process(driver.pid).children()
    driver.kill()
    driver.communicate()
    if everything:
        for child in children:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait(HANG_S)  # DVC's locks name the process
    assert (tiny.root / "params.yaml").read_text() != before
    again = _drive(tiny, gate, *settings)
    (gate / "open").touch()
    output, _ = again.communicate(timeout=HANG_S)
    assert again.returncode == 0, output
    assert "are restored first" in output
    # A run that outlives the sweep is used; a killed one runs again.
    assert ("exists already" in output) is not everything
    assert tiny.names() == {run.name for run in runs}, output
    assert (tiny.root / "params.yaml").read_text() == before
    assert tiny.output("git", "status", "--porcelain") == ""

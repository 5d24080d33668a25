"""The plain loop with real DVC: what exists is passed over, what fails does not end the rest."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.experiments.dvc import Repository
from pipeline.experiments.loop import log_path, run_grid
from tests.conftest import HANG_S

ROOT = Path(__file__).parents[2]
DRIVER = """
import sys
from pathlib import Path
from pipeline.experiments.loop import run_grid
from pipeline.experiments.dvc import Repository
repository = Repository(Path(sys.argv[1]))
run_grid(repository, sys.argv[2:])
"""


def test_a_grid_is_made_once_and_the_workspace_is_as_before(tiny: Repository) -> None:
    before = (tiny.root / "params.yaml").read_bytes()
    settings = ["train.seed=13,14", "train.lr=1e-3"]
    runs = tiny.runs(settings)
    first = run_grid(tiny, settings)
    assert [outcome.state for outcome in first] == ["failed", "done"]
    assert "thirteen is refused" in log_path(tiny, runs[0]).read_text()
    assert first[0].reason
    assert tiny.names() == {runs[1].name}
    # What waits in the queue is no result.
    tiny.dvc("exp", "run", "--queue", "--name", "waiting", "-S", "train.seed=15")
    assert [item.name for item in tiny.experiments()] == ["main", runs[1].name]
    tiny.dvc("queue", "remove", "waiting")
    assert (tiny.root / "params.yaml").read_bytes() == before
    assert not (tiny.root / "dvc.lock").exists()
    assert tiny.git("status", "--porcelain") == ""
    # A larger grid makes only what is new; what failed is tried again.
    larger = run_grid(tiny, ["train.seed=14,15", "train.lr=1e-3"])
    assert [outcome.state for outcome in larger] == ["was there", "done"]


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
    """Where runs wait until it is opened."""
    (tmp_path / "gate").mkdir()
    return tmp_path / "gate"


@pytest.mark.slow
def test_an_interrupted_sweep_restores_and_goes_on_when_typed_again(
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
    assert "waiting until the run at work has ended" in output
    assert driver.returncode != 0
    assert (tiny.root / "params.yaml").read_text() == before
    assert tiny.names() == set()
    (gate / "open").touch()
    again = _drive(tiny, gate, *settings)
    again.communicate(timeout=HANG_S)
    assert again.returncode == 0
    assert tiny.names() == {run.name for run in runs}
    assert (tiny.root / "params.yaml").read_text() == before


@pytest.mark.parametrize(
    "everything",
    [
        pytest.param(False, id="sweep alone"),
        pytest.param(True, id="its run, too", marks=pytest.mark.slow),
    ],
)
def test_a_killed_sweep_goes_on_when_typed_again(
    tiny: Repository, gate: Path, everything: bool
) -> None:
    before = (tiny.root / "params.yaml").read_text()
    settings = ("train.seed=1,2",)
    runs = tiny.runs(settings)
    driver = _drive(tiny, gate, *settings)
    _wait_for_run(driver, gate, 1)
    children = Path(f"/proc/{driver.pid}/task/{driver.pid}/children").read_text().split()
    driver.kill()
    driver.communicate()
    if everything:
        for child in children:
            os.killpg(int(child), signal.SIGKILL)
    assert (tiny.root / "params.yaml").read_text() != before
    again = _drive(tiny, gate, *settings)
    (gate / "open").touch()
    output, _ = again.communicate(timeout=HANG_S)
    assert again.returncode == 0, output
    assert "is brought back first" in output or "are brought back first" in output
    # The run that outlived the sweep is taken as it is; the one that did not is made anew.
    assert ("is there already" in output) is not everything
    assert tiny.names() == {run.name for run in runs}
    assert (tiny.root / "params.yaml").read_text() == before
    assert tiny.git("status", "--porcelain") == ""

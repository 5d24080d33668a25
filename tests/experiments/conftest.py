"""A repository with one fast stage, for tests of sweeps without the real chain."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.experiments.dvc import Repository

from .fake_dvc import fake_dvc

__all__ = ["fake_dvc"]
REPOSITORY = Path(__file__).parents[2]
# Runs wait until the folder GATE holds the file `open`, or until GATE_NEEDS runs have arrived.
STAGE = """
import json, os, pathlib, sys, time
from ruamel.yaml import YAML
from pipeline.experiments.gpus import claim_gpu

gpu = claim_gpu()

train = YAML(typ="safe").load(pathlib.Path("params.yaml"))["train"]
folder = pathlib.Path("artifacts/evaluate")
folder.mkdir(parents=True, exist_ok=True)
if train["seed"] == 13:
    sys.exit("thirteen is refused")
if "GATE" in os.environ:
    gate, needed = pathlib.Path(os.environ["GATE"]), float(os.environ.get("GATE_NEEDS", "inf"))
    (gate / f"seed_{train['seed']}").touch()
    while not (gate / "open").exists() and len(list(gate.glob("seed_*"))) < needed:
        time.sleep(0.05)
strict = 1 - abs(train["lr"] - 1e-3) * 100
metrics = {
    "closed_loop": {"n": 200, "success_strict": round(200 * strict) / 200, "error_mm_median": 1.5},
    "gpu": -1 if gpu is None else int(gpu),
}
(folder / "metrics.json").write_text(json.dumps(metrics))
"""
DVC_YAML = """
stages:
  evaluate:
    cmd: python stage.py
    deps: [stage.py]
    params: [train]
    outs: [artifacts/evaluate]
metrics:
  - artifacts/evaluate/metrics.json
"""


def run(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("template") / "tiny"
    folder.mkdir()
    shutil.copy(REPOSITORY / "params.yaml", folder)
    (folder / "stage.py").write_text(STAGE)
    (folder / "dvc.yaml").write_text(DVC_YAML)
    (folder / ".gitignore").write_text("/artifacts/\n/.state/\n")
    run(folder, "git", "init", "-q", "-b", "main")
    for key, value in {"user.name": "Test", "user.email": "test@localhost"}.items():
        run(folder, "git", "config", key, value)
    run(folder, sys.executable, "-m", "dvc", "init", "-q")
    for key in ("analytics", "check_update"):
        run(folder, sys.executable, "-m", "dvc", "config", f"core.{key}", "false")
    run(folder, "git", "add", "-A")
    run(folder, "git", "commit", "-q", "-m", "Tiny")
    return folder


@pytest.fixture
def tiny(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """A copy of the repository, for experiments."""
    folder = tmp_path / "tiny"
    shutil.copytree(template, folder)
    # The tests may themselves run inside a DVC run.
    for name in [name for name in os.environ if name.startswith(("DVC_", "CUDA_VISIBLE"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    return Repository(folder)

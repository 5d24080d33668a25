"""Runs the real chain with DVC in a fresh clone, with tiny parameters."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
TINY = {
    "episodes": "24",
    "num_epochs": "2",
    "mlp_width": "32",
    "pens": "3",
    "rollout_pens": "2",
    "rollout_least_steps": "60",
    "rollout_steps": "60",
    "open_loop_windows": "20",
    "robustness": '"off"',
    "test_fraction": "0.3",
    "targets": '["8.9"]',
    "warmup_steps": "5",
}


def _run(folder: Path, *command: str) -> str:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
        "GIT_AUTHOR_NAME": "Test", "GIT_AUTHOR_EMAIL": "test@localhost",
        "GIT_COMMITTER_NAME": "Test", "GIT_COMMITTER_EMAIL": "test@localhost",
    }  # fmt: skip
    environment.pop("DVC_ROOT", None)
    result = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, f"{command}\n{result.stdout[-4000:]}\n{result.stderr[-4000:]}"
    return result.stdout + result.stderr


def _set(folder: Path, **values: str) -> None:
    path = folder / "params.yaml"
    text = path.read_text()
    for key, value in values.items():
        text, count = re.subn(rf"^(\s+{key}:).*$", rf"\g<1> {value}", text, flags=re.M)
        assert count == 1, f"{key} occurs {count} times in params.yaml"
    path.write_text(text)


def _would_run(folder: Path) -> list[str]:
    return re.findall(r"Running stage '(\w+)'", _run(folder, "dvc", "repro", "--dry"))


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone of the working tree, committed, after one `dvc repro` with tiny parameters."""
    folder = tmp_path_factory.mktemp("clone")
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in filter(None, listing.stdout.split("\0")):
        source, target = REPOSITORY / name, folder / name
        if source.is_file() and name != "dvc.lock":
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
    _set(folder, **TINY)
    _run(folder, "git", "init", "-q", "-b", "main")
    _run(folder, "git", "add", "-A")
    _run(folder, "git", "commit", "-q", "-m", "Tiny")
    _run(folder, "dvc", "repro")
    return folder


def test_the_chain_writes_all_results(clone: Path) -> None:
    artifacts = clone / "artifacts"
    for path in (
        "collect/bag/metadata.yaml",
        "ingest/episodes.zarr",
        "ingest/report.json",
        "dataset/pen_grasp.zarr",
        "train/best_model.pt",
        "train/final_model.pt",
        "train/config.json",
        "evaluate/metrics.json",
        "evaluate/plots/reach_map.png",
        "export/policy.onnx",
        "export/export.json",
    ):
        assert (artifacts / path).exists(), path
    metrics = json.loads((artifacts / "evaluate/metrics.json").read_text())
    assert metrics["closed_loop"]["n"] == 3
    assert metrics["expert"]["success_team"] == 1.0
    assert metrics["stand_still"]["success_team"] == 0.0
    report = json.loads((artifacts / "ingest/report.json").read_text())
    assert report["totals"]["accepted"] == 24
    exported = json.loads((artifacts / "export/export.json").read_text())
    assert exported["backends"]["onnxruntime"]["status"] == "built and run"


def test_only_the_lock_file_changes_in_git(clone: Path) -> None:
    assert _run(clone, "git", "status", "--porcelain").strip() in {"?? dvc.lock", "M dvc.lock", ""}


def test_a_second_run_runs_nothing(clone: Path) -> None:
    assert "up to date" in _run(clone, "dvc", "repro")


@pytest.mark.parametrize(
    ("change", "first"),
    [
        ({"lr": "2e-3"}, "train"),
        ({"rate_hz": "25.0"}, "dataset"),
        ({"latency_calls": "11"}, "export"),
    ],
)
def test_a_parameter_reruns_its_own_stage_first(
    clone: Path, change: dict[str, str], first: str
) -> None:
    original = (clone / "params.yaml").read_text()
    try:
        _set(clone, **change)
        assert _would_run(clone)[0] == first
    finally:
        (clone / "params.yaml").write_text(original)


def test_an_experiment_changes_a_parameter_and_is_compared(clone: Path, tmp_path: Path) -> None:
    # In a copy: it leaves the experiment's parameters and results behind.
    clone = shutil.copytree(clone, tmp_path / "clone", symlinks=True)
    _run(clone, "git", "add", "-A")
    _run(clone, "git", "commit", "-q", "--allow-empty", "-m", "Lock")
    output = _run(clone, "dvc", "exp", "run", "-S", "train.lr=3e-3", "-n", "faster")
    assert set(re.findall(r"Running stage '(\w+)'", output)) == {"train", "evaluate", "export"}
    table = _run(clone, "dvc", "exp", "show", "--csv", "--no-pager")
    assert "faster" in table
    assert "closed_loop.success_strict" in table
    assert "train_loss" in _run(clone, "dvc", "metrics", "diff")

"""A remote that is a folder, and the repository's own dvc.yaml on it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from pipeline.doctor.remotes import examine

from .project import NUM_FILES, Project, create
from .steps import add_remote, round_trip

REPOSITORY = Path(__file__).parents[2]


def test_a_fresh_clone_draws_everything_and_runs_nothing(project: Project, tmp_path: Path) -> None:
    store = tmp_path / "store"
    add_remote(project, str(store), {})
    assert (examine(project.root).status, store.exists()) == ("absent", False)
    round_trip(project, tmp_path)
    assert examine(project.root).status == "ok"

    # Not even drawn is what no stage needs; what one needs is drawn, and it alone runs.
    bare, runs = project.clone(tmp_path / "bare"), project.runs()
    bare.run("dvc", "repro", "-q", "--pull", "--allow-missing")
    assert bare.runs() == runs
    with (bare.root / "count.py").open("a") as script:
        script.write("# edited\n")
    bare.run("dvc", "repro", "-q", "--pull", "--allow-missing")
    assert bare.runs() == [*runs, "count"]
    assert len(list((bare.root / "artifacts/make").iterdir())) == NUM_FILES

    shutil.rmtree(store)
    (tmp_path / "mount").mkdir(mode=0o755)
    bare.run("dvc", "remote", "modify", "storage", "url", str(tmp_path / "mount/disk/store"))
    gone = examine(bare.root)
    assert gone.status == "problem" and "mount it" in gone.remedy


def test_results_of_the_real_chain_are_drawn_and_nothing_runs(
    project: Project, tmp_path: Path
) -> None:
    """The real dvc.yaml, params.yaml and code; results that only their hashes know."""
    real = create(tmp_path / "real", project.environment)
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=REPOSITORY, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        if name.startswith((".dvc/", "tests/", "bench/", "docs/")) or name == "dvc.lock":
            continue
        if (REPOSITORY / name).is_file():
            (real.root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, real.root / name)
    files = (
        "collect/bag/bag_0.mcap", "ingest/report.json", "ingest/episodes.zarr/.zgroup",
        "dataset/pen_grasp.zarr/.zgroup", "dataset/dataset.json", "train/best_model.pt",
        "train/config.json", "train/history.csv", "train/metrics.json", "evaluate/metrics.json",
        "export/policy.onnx",
    )  # fmt: skip
    for name in files:
        path = real.root / "artifacts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"stands for {name}")
    real.run("dvc", "commit", "-q", "--force")
    real.run("dvc", "remote", "add", "-q", "-d", "storage", str(tmp_path / "store"))
    real.commit("Results")
    real.run("dvc", "push", "-q")
    fresh = real.clone(tmp_path / "fresh")
    fresh.run("dvc", "pull", "-q")
    assert fresh.content() == real.content()
    said = fresh.run("dvc", "repro")
    assert "Running stage" not in said and "up to date" in said
    # The declared versions are there to be had.
    listed_artifacts = {"artifacts/dataset/pen_grasp.zarr", "artifacts/export/policy.onnx"}
    assert all((fresh.root / path).exists() for path in listed_artifacts)

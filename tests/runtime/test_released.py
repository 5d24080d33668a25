"""A policy named by repository and version is fetched once and then found without a network."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pipeline
from pipeline.params import Params
from pipeline.policy.checkpoint import Checkpoint
from pipeline.robot.model import RobotModel
from pipeline.runtime import released
from pipeline.runtime.deployment import Deployment, DeploymentError
from pipeline.runtime.released import ReleasedError, fetch, is_fetched, split
from tests.remotes.project import Project, create, isolated

REPOSITORY = Path(__file__).parents[2]
SEEN = {"joint_pos": np.zeros(6), "pen_pos": np.full(3, 0.3), "pen_axis": np.array([0.0, 0.0, 1.0])}


@pytest.fixture(scope="module")
def repository(
    exported: tuple[Checkpoint, Path], params: Params, tmp_path_factory: pytest.TempPathFactory
) -> Project:
    """An exported policy in a DVC remote, v1.0.0; its folder's name holds an @."""
    folder = tmp_path_factory.mktemp("released")
    project = create(folder / "arm@lab", isolated(folder / "home"))
    limits = RobotModel.from_params(params.robot).limits
    deployment = Deployment.from_params(params.execution, limits)
    export = project.root / "artifacts/export"
    export.mkdir(parents=True)
    graph = onnx.load(str(exported[1]))
    graph.metadata_props.add(key="deployment", value=deployment.to_json())
    onnx.save(graph, str(export / "policy.onnx"))
    stage = "stages: {export: {cmd: echo exported, deps: [in], outs: [artifacts/export]}}\n"
    (project.root / "dvc.yaml").write_text(stage)
    (project.root / "in").write_text("0")
    project.run("dvc", "commit", "-q", "--force")
    project.run("dvc", "remote", "add", "-q", "-d", "storage", str(folder / "store"))
    project.commit("Export")
    project.run("dvc", "push", "-q")
    project.run("git", "tag", "-a", "-m", "model", "arm-policy@v1.0.0")
    return project


@pytest.fixture(autouse=True)
def _isolated(repository: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in repository.environment.items():
        monkeypatch.setenv(key, value)


def test_a_version_is_fetched_once_and_then_found_without_a_network(
    repository: Project, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hub = tmp_path / "hub"
    shutil.copytree(repository.root, hub)
    shutil.rmtree(hub / ".dvc/cache")
    shutil.rmtree(hub / "artifacts")
    policy = pipeline.load_policy(f"{hub}@v1.0.0", "onnxruntime", cache=tmp_path / "cache")
    there = pipeline.load_policy(repository.root / "artifacts/export", "onnxruntime")
    np.testing.assert_array_equal(policy.act(SEEN), there.act(SEEN))

    # The data are gone, then the repository is: neither is asked again.
    releases = tmp_path / "cache/releases"
    (hub / ".dvc/config").unlink()
    cache = tmp_path / "cache"
    assert fetch(f"{hub}@arm-policy@v1.0.0", cache) == fetch(f"{hub}@main", cache)
    (hub / ".git").rename(tmp_path / "git")
    with caplog.at_level(logging.WARNING):
        pipeline.load_policy(f"{hub}@v1.0.0", "onnxruntime", cache=tmp_path / "cache")
    assert "cannot be reached" in caplog.text and "as fetched before" in caplog.text
    with pytest.raises(ReleasedError, match=r"git cannot read it.*git ls-remote"):
        fetch(f"{hub}@v1.0.1", cache)
    assert {path.suffix for path in next(releases.iterdir()).iterdir()} == {"", ".ref"}


def test_a_folder_that_cannot_be_written_is_named_and_what_it_holds_is_read(
    repository: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("a file where a folder should be")
    with pytest.raises(ReleasedError, match=rf"{tmp_path}/file.* cannot be written"):
        fetch(f"{repository.root}@v1.0.0", tmp_path / "file")
    kept = fetch(f"{repository.root}@v1.0.0", tmp_path / "cache")
    assert is_fetched(kept, tmp_path / "cache")
    assert not is_fetched(repository.root / "artifacts/export", tmp_path / "cache")
    ref = next(kept.parent.glob("*.ref"))
    ref.unlink()
    ref.mkdir()  # as little to be written as on a file system that is mounted read-only
    assert fetch(f"{repository.root}@v1.0.0", tmp_path / "cache") == kept


def test_a_robot_s_process_imports_neither_torch_nor_dvc_to_fetch_it(
    repository: Project, tmp_path: Path
) -> None:
    script = (
        "import sys, pipeline\n"
        "pipeline.load_policy(sys.argv[1], 'onnxruntime', cache=sys.argv[2])\n"
        "print(sorted({'torch', 'dvc', 'git', 'pydantic', 'rich'} & set(sys.modules)))\n"
    )
    words = [sys.executable, "-c", script, f"{repository.root}@v1.0.0", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert done.stdout.strip() == "[]"


def test_what_cannot_be_fetched_is_named(
    repository: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ReleasedError, match=r"no version, tag or branch 'v2.0.0'.*arm-policy@v1"):
        fetch(f"{repository.root}@v2.0.0", tmp_path)
    with pytest.raises(ReleasedError, match="its data cannot be fetched"):
        fetch(f"{repository.root}@{'0' * 40}", tmp_path)
    with pytest.raises(DeploymentError, match="or REPOSITORY@VERSION"):
        pipeline.load_policy("no/such/folder@v1.0.0")
    two = repository.clone(tmp_path / "two")
    two.run("git", "tag", "-a", "-m", "model", "arm-policy@v1.0.0", "--force")
    two.run("git", "commit", "-q", "--allow-empty", "-m", "More")
    two.run("git", "tag", "-a", "-m", "data", "arm-dataset@v1.0.0")
    with pytest.raises(
        ReleasedError, match=r"several commits; name one of arm-dataset@v1.0.0, arm"
    ):
        fetch(f"{two.root}@v1.0.0", tmp_path)
    monkeypatch.setattr(released.importlib.util, "find_spec", lambda _: None)
    git = shutil.which("git")
    assert git is not None
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/git").symlink_to(git)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(ReleasedError, match=r"pip install dvc .*dvc get .* --rev \w{40}"):
        fetch(f"{repository.root}@v1.0.0", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    with pytest.raises(ReleasedError, match="git is needed"):
        fetch(f"{repository.root}@v1.0.0", tmp_path)


def test_a_path_that_exists_is_a_path_whatever_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "arm@v1.0.0"
    folder.mkdir()
    assert split(str(folder)) is None
    assert fetch(str(folder), tmp_path) == folder
    (tmp_path / "arm").mkdir()
    assert split(str(folder)) is None
    assert split(f"{tmp_path}/arm@v2.0.0") == (f"{tmp_path}/arm", "v2.0.0")
    assert split(f"{folder}@v2.0.0") == (str(folder), "v2.0.0")
    assert split(f"{tmp_path}/arm@arm-policy@v2.0.0") == (f"{tmp_path}/arm", "arm-policy@v2.0.0")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("https://example.org/a/b.git", None),
        ("https://me@example.org/a/b.git", None),
        ("git@example.org:a/b.git", None),
        ("/no/such/folder@v1.0.0", None),
        ("models/best@2.pt", None),
        ("git@example.org:a/b@v1", ("git@example.org:a/b", "v1")),
        ("https://example.org/a@p-x@v1.0.0", ("https://example.org/a", "p-x@v1.0.0")),
        ("https://me@example.org/a@v1.0.0", ("https://me@example.org/a", "v1.0.0")),
        ("ssh://git@h:22/a/b.git@feature/x", ("ssh://git@h:22/a/b.git", "feature/x")),
        ("file:///srv/a.git@v1", ("file:///srv/a.git", "v1")),
    ],
)
def test_addresses_and_revisions_are_told_from_paths(
    name: str, found: tuple[str, str] | None
) -> None:
    assert split(name) == found


@given(
    st.sampled_from(["https://example.org/team/arm.git", "git@example.org:team/arm.git",
                     "ssh://me@example.org:2222/arm", "https://me@example.org/arm"]),
    st.from_regex(r"([a-z][a-z-]{0,8}@)?[a-z0-9][a-z0-9./-]{0,12}", fullmatch=True),
)  # fmt: skip
def test_an_address_and_a_revision_come_apart_as_they_were_joined(
    address: str, revision: str
) -> None:
    assert split(f"{address}@{revision}") == (address, revision)

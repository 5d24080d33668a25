"""A release from gate to a policy that others load; what must not get one does not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.params import Params
from pipeline.release.gate import GateError
from pipeline.repository import RepositoryError
from pipeline.stages import release
from tests.release.conftest import project, released
from tests.remotes.project import Project

__all__ = ["project", "released"]


def test_a_release_is_one_commit_with_card_and_tags_that_others_can_fetch(
    params: Params, project: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    release.run(params, "v1.0.0", push=False, root=project.root)
    assert "nothing was pushed" in capsys.readouterr().out
    tagged = "pen-grasp-policy@v1.0.0^{commit}"
    changed = project.run("git", "show", "--name-only", "--format=", tagged)
    assert changed.split() == ["MODEL_CARD.md"]
    card = (project.root / "MODEL_CARD.md").read_text()
    assert "\n# Model card: pen-grasp-policy v1.0.0\n" in card, "not of the data set"

    # A first push without remotes is refused; with them the same command goes on from there.
    with pytest.raises(RepositoryError, match="no git remote"):
        release.run(params, "v1.0.0", push=True, root=project.root)
    project.run("git", "init", "-q", "--bare", str(tmp_path / "hub.git"))
    project.run("git", "remote", "add", "origin", str(tmp_path / "hub.git"))
    local = f"[core]\n    remote = s\n['remote \"s\"']\n    url = {tmp_path / 'store'}\n"
    (project.root / ".dvc/config.local").write_text(local)
    release.run(params, "v1.0.0", push=True, root=project.root)

    other = Project(tmp_path, project.environment)
    (tmp_path / "config").write_text(local)
    hub = str(tmp_path / "hub.git")
    version = ("--rev", "v1.0.0", "--config", str(tmp_path / "config"))
    other.run("dvc", "artifacts", "get", hub, "pen-grasp-policy", *version)
    assert (tmp_path / "policy.onnx").read_text() == "stands for a graph"

    project.run("git", "commit", "-q", "--allow-empty", "-m", "Another")
    with pytest.raises(RepositoryError, match=r"pen-grasp-dataset@v1\.0\.0 exists already"):
        release.run(params, "v1.0.0", push=False, root=project.root)


def test_what_must_not_get_a_version_does_not(params: Params, project: Project) -> None:
    with pytest.raises(GateError, match="no semantic version"):
        release.run(params, "1.0.0", push=False, root=project.root)
    strict = params.override("release", min_success=0.99)
    with pytest.raises(GateError, match=r"at least 98.1% .*asks for 99.0%"):
        release.run(strict, "v1.0.0", push=False, root=project.root)
    with pytest.raises(RepositoryError, match="no git remote"):
        release.run(params, "v1.0.0", push=True, root=project.root)
    metrics = project.root / "artifacts/evaluate/metrics.json"
    better = json.loads(metrics.read_text())
    better["closed_loop"]["ci95_strict"][0] = 0.999
    metrics.write_text(json.dumps(better))
    with pytest.raises(RepositoryError, match=r"not as dvc\.lock has it"):
        release.run(strict, "v1.0.0", push=False, root=project.root)
    (project.root / "params.yaml").write_text("seed: 1\n")
    with pytest.raises(RepositoryError, match=r"params\.yaml not committed"):
        release.run(params, "v1.0.0", push=False, root=project.root)
    assert project.run("git", "tag") == ""


def test_a_release_needs_a_model(params: Params, project: Project) -> None:
    path = project.root / "dvc.yaml"
    path.write_text(path.read_text().replace("type: model", "type: dataset"))
    project.commit("Declare no model")
    with pytest.raises(RepositoryError, match="no artifact has `type: model`"):
        release.run(params, "v1.0.0", push=False, root=project.root)
    assert project.run("git", "tag") == ""

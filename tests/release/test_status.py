"""What git and DVC say of a repository."""

from __future__ import annotations

import pytest

from pipeline.release.status import Artifact, Repository
from pipeline.repository import RepositoryError
from tests.remotes.project import Project

MODEL = Artifact("pen-grasp-policy", "artifacts/export/policy.onnx", "model")


def test_a_tree_with_changes_is_refused_but_for_what_the_release_writes(project: Project) -> None:
    repository = Repository(project.root)
    repository.require_clean("MODEL_CARD.md")
    (project.root / "MODEL_CARD.md").write_text("left by an interrupted release")
    repository.require_clean("MODEL_CARD.md")
    (project.root / "new file.txt").write_text("untracked")
    (project.root / "params.yaml").write_text("seed: 1\n")
    with pytest.raises(RepositoryError, match=r': params\.yaml, "new file\.txt" not committed;'):
        repository.require_clean("MODEL_CARD.md")


def test_results_that_are_not_those_of_dvc_lock_are_refused(project: Project) -> None:
    repository = Repository(project.root)
    repository.require_reproduced()
    (project.root / "artifacts/export/policy.onnx").write_text("edited by hand")
    with pytest.raises(RepositoryError, match=r"chain: not as dvc.lock.*make pull.*then commit"):
        repository.require_reproduced()


def test_artifacts_are_those_of_dvc_yaml(project: Project) -> None:
    repository = Repository(project.root)
    assert [item.name for item in repository.artifacts()] == [
        "pen-grasp-dataset", "pen-grasp-policy",
    ]  # fmt: skip
    assert repository.artifacts()[1] == MODEL
    text = (project.root / "dvc.yaml").read_text()
    (project.root / "dvc.yaml").write_text(text.partition("artifacts:\n  pen")[0])
    with pytest.raises(RepositoryError, match=r"/dvc\.yaml: no `artifacts:`.* such as pen-grasp"):
        repository.artifacts()
    (project.root / "dvc.yaml").write_text("artifacts:\n  notes: {path: params.yaml}\n")
    assert repository.artifacts() == [Artifact("notes", "params.yaml", "")]


def test_a_version_is_a_tag_of_gto_at_this_commit(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2026-01-02T03:04:05")  # gto's git library refuses it
    repository = Repository(project.root)
    assert repository.commit_of("pen-grasp-policy@v1.0.0") == ""
    repository.register(MODEL, "v1.0.0")
    assert repository.commit_of("pen-grasp-policy@v1.0.0") == repository.head()
    assert repository.branch() == "main"
    with pytest.raises(RepositoryError, match="gto cannot register it"):
        repository.register(MODEL, "v1.0.1")  # one version a commit


def test_a_version_needs_a_name_of_who_gives_it(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_COMMITTER_NAME", "")
    with pytest.raises(RepositoryError, match=r"; git config user\.name NAME$"):
        Repository(project.root).register(MODEL, "v1.0.0")


def test_the_git_remote_is_the_branch_s_own_or_origin(project: Project) -> None:
    repository = Repository(project.root)
    with pytest.raises(RepositoryError, match=r"found: none.*git remote add origin"):
        repository.git_remote()
    project.run("git", "remote", "add", "hub", "somewhere")
    assert repository.git_remote() == "hub"
    project.run("git", "remote", "add", "origin", "elsewhere")
    assert repository.git_remote() == "origin"
    project.run("git", "config", "branch.main.remote", "hub")
    assert repository.git_remote() == "hub"


def test_a_command_that_fails_says_why_and_what_to_do(project: Project) -> None:
    with pytest.raises(RepositoryError, match=r"`git switch nowhere` failed: .*nowhere.*; try it$"):
        Repository(project.root).run("git", "switch", "nowhere", hint="try it")
    with pytest.raises(RepositoryError, match=r"` failed: 2 / 3 / 4$"):
        Repository(project.root).run("sh", "-c", "seq 4; exit 1")
    with pytest.raises(RepositoryError, match=r"`false` failed: it said nothing$"):
        Repository(project.root).run("false")


def test_a_repository_without_a_commit_is_refused(project: Project) -> None:
    project.run("git", "update-ref", "-d", "HEAD")
    with pytest.raises(RepositoryError, match="make a first commit"):
        Repository(project.root).require_clean("MODEL_CARD.md")

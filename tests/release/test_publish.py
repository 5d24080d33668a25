"""Each step of a release may be taken again, and refuses before it writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.release import publish
from pipeline.release.status import Artifact, Repository
from pipeline.repository import RepositoryError
from tests.remotes.project import Project

ARTIFACTS = [
    Artifact("pen-grasp-dataset", "artifacts/dataset/dataset.json", "dataset"),
    Artifact("pen-grasp-policy", "artifacts/export/policy.onnx", "model"),
]
CARD = Path("MODEL_CARD.md")


def _hub(project: Project, folder: Path) -> Project:
    """A bare repository as git remote, a folder as DVC's."""
    project.run("git", "init", "-q", "--bare", str(folder / "hub.git"))
    project.run("git", "remote", "add", "origin", str(folder / "hub.git"))
    config = f"[core]\n    remote = s\n['remote \"s\"']\n    url = {folder / 'store'}\n"
    (project.root / ".dvc/config").write_text(config)
    project.commit("Add remotes")
    return Project(folder / "hub.git", project.environment)


def test_the_card_is_committed_once_and_tags_stand_where_it_is(project: Project) -> None:
    repository = Repository(project.root)
    assert publish.commit_card(repository, CARD, "# Card\n", "v1.0.0")
    assert project.run("git", "log", "-1", "--format=%s").strip() == "Release v1.0.0"
    assert not publish.commit_card(repository, CARD, "# Card\n", "v1.0.0")
    tags = publish.tag(repository, ARTIFACTS, "v1.0.0")
    assert tags == ["pen-grasp-dataset@v1.0.0", "pen-grasp-policy@v1.0.0"]
    assert publish.tag(repository, ARTIFACTS, "v1.0.0") == tags
    publish.require_free(repository, ARTIFACTS, "v1.0.0")
    assert publish.commit_card(repository, CARD, "# Another card\n", "v1.0.1")
    with pytest.raises(RepositoryError, match=r"pen-grasp-dataset@v1.0.0 exists already"):
        publish.require_free(repository, ARTIFACTS, "v1.0.0")


def test_what_could_not_be_pushed_is_refused_before(project: Project, tmp_path: Path) -> None:
    repository = Repository(project.root)
    with pytest.raises(RepositoryError, match="no git remote"):
        publish.require_pushable(repository, ARTIFACTS, "v1.0.0")
    with pytest.raises(RepositoryError, match=r"DVC remote: none; .*dvc remote add"):
        publish.require_remote(project.root)
    hub = _hub(project, tmp_path)
    publish.require_pushable(repository, ARTIFACTS, "v1.0.0")
    config = (project.root / ".dvc/config").read_text()
    (project.root / ".dvc/config").write_text("")
    with pytest.raises(RepositoryError, match="DVC remote: none"):
        publish.require_pushable(repository, ARTIFACTS, "v1.0.0")
    away = config.replace(str(tmp_path), str(tmp_path / "not mounted"))
    (project.root / ".dvc/config").write_text(away)
    with pytest.raises(RepositoryError, match=r"DVC remote: .*: no folder .*; mount it"):
        publish.require_pushable(repository, ARTIFACTS, "v1.0.0")
    project.run("git", "checkout", "-q", ".dvc/config")
    for item in ARTIFACTS:
        project.run("git", "tag", "-a", "-m", "Sent before", publish.tag_of(item, "v0.9.0"))
    project.run("git", "push", "-q", "origin", "main", "--tags")
    project.run("git", "commit", "-q", "--allow-empty", "-m", "Next")
    publish.require_pushable(repository, ARTIFACTS, "v0.9.0")  # the same tags, main is behind

    # Somebody else was quicker: first with a commit, then with the very version.
    other = project.clone(tmp_path / "other")
    other.run("git", "remote", "set-url", "origin", str(hub.root))
    other.run("git", "commit", "-q", "--allow-empty", "-m", "Ahead")
    other.run("git", "push", "-q", "origin", "main")
    with pytest.raises(RepositoryError, match=r"origin/main has commits .*git pull --rebase"):
        publish.require_pushable(repository, ARTIFACTS, "v1.0.0")
    publish.tag(Repository(other.root), ARTIFACTS, "v1.0.0")
    other.run("git", "tag", publish.tag_of(ARTIFACTS[1], "v1.1.0"))  # by hand, not annotated
    other.run("git", "push", "-q", "origin", "--tags")
    at = Repository(other.root).head()[:10]
    for tag in ("pen-grasp-dataset@v1.0.0", "pen-grasp-policy@v1.1.0"):
        refused = rf"{tag} exists .* at commit {at}; git fetch --tags, then take the next"
        with pytest.raises(RepositoryError, match=refused):
            publish.require_pushable(repository, ARTIFACTS, tag.partition("@")[2])


def test_a_push_that_failed_goes_on(project: Project, tmp_path: Path) -> None:
    repository = Repository(project.root)
    hub = _hub(project, tmp_path)
    tags = publish.tag(repository, ARTIFACTS, "v1.0.0")
    hook = hub.root / "hooks/update"
    hook.write_text('#!/bin/sh\ncase "$1" in *policy*) exit 1;; esac\n')
    hook.chmod(0o755)
    with pytest.raises(RepositoryError, match=r"git push.*; what was sent is kept.* same command"):
        publish.push(repository, tags)
    assert hub.run("git", "for-each-ref") == "", "one refused tag holds back the others and main"
    assert any((tmp_path / "store").rglob("*.dir")), "data first: no tag without its data"
    assert any((tmp_path / "store/runs").rglob("*")), "others need not run the stages again"
    hook.unlink()
    assert publish.push(repository, tags).endswith("and main to origin")
    assert hub.run("git", "tag").split() == tags
    assert publish.push(repository, tags)

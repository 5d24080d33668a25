"""Steps of the tests of all kinds of remotes."""

from __future__ import annotations

from pathlib import Path

from .project import FILE_BYTES, NUM_FILES, Project
from .relay import relayed
from .servers import Server


def add_remote(project: Project, url: str, local: dict[str, str], **settings: str) -> None:
    """Add a default remote as docs/versions.md describes; secrets stay out of Git."""
    project.run("dvc", "remote", "add", "-q", "-d", "storage", url)
    for key, value in settings.items():
        project.run("dvc", "remote", "modify", "-q", "storage", key, value)
    project.commit("Add a remote")
    set_local(project, local)


def set_local(project: Project, local: dict[str, str]) -> None:
    """Write .dvc/config.local, as `dvc remote modify --local` does."""
    lines = "".join(f"    {key} = {value}\n" for key, value in local.items())
    text = f"['remote \"storage\"']\n{lines}" if local else ""
    (project.root / ".dvc/config.local").write_text(text)


def round_trip(project: Project, folder: Path) -> None:
    """Push, pull into a fresh clone, and check that no stage runs there."""
    before, runs = project.content(), project.runs()
    project.run("dvc", "push", "-q", "--run-cache")
    fresh = project.clone(folder / "fresh")
    assert fresh.content() == {}
    fresh.run("dvc", "pull", "-q", "--run-cache")
    assert fresh.content() == before
    assert "up to date" in fresh.run("dvc", "repro")
    assert project.runs() == runs


def interrupted(project: Project, words: tuple[str, ...], server: Server, store: str) -> None:
    """Run a DVC command whose server dies after a quarter of the data."""
    with relayed(server, NUM_FILES * FILE_BYTES // 4) as (port, relay):
        set_local(project, server.settings(store, port))
        done = project.ask("dvc", *words)
    set_local(project, server.settings(store))
    assert relay.left < 0, f"it ended before the server died: {done.stdout}{done.stderr}"
    assert done.returncode != 0, done.stdout

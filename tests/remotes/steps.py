"""What every remote must do, whatever it is made of."""

from __future__ import annotations

from pathlib import Path

from .project import FILE_BYTES, NUM_FILES, Project
from .relay import relayed
from .servers import Server


def add_remote(project: Project, url: str, local: dict[str, str], **settings: str) -> None:
    """Make a remote the default one, as docs/versions.md says; secrets stay out of git."""
    project.run("dvc", "remote", "add", "-q", "-d", "storage", url)
    for key, value in settings.items():
        project.run("dvc", "remote", "modify", "-q", "storage", key, value)
    project.commit("Add a remote")
    set_local(project, local)


def set_local(project: Project, local: dict[str, str]) -> None:
    """Write .dvc/config.local, what `dvc remote modify --local` writes."""
    lines = "".join(f"    {key} = {value}\n" for key, value in local.items())
    text = f"['remote \"storage\"']\n{lines}" if local else ""
    (project.root / ".dvc/config.local").write_text(text)


def round_trip(project: Project, folder: Path) -> None:
    """Push; draw into a fresh clone; nothing runs there."""
    before, runs = project.content(), project.runs()
    project.run("dvc", "push", "-q", "--run-cache")
    fresh = project.clone(folder / "fresh")
    assert fresh.content() == {}
    fresh.run("dvc", "pull", "-q", "--run-cache")
    assert fresh.content() == before
    assert "up to date" in fresh.run("dvc", "repro")
    assert project.runs() == runs


def interrupted(project: Project, words: tuple[str, ...], server: Server, store: str) -> None:
    """Run a DVC command whose server dies when it has passed a quarter of the data."""
    with relayed(server, NUM_FILES * FILE_BYTES // 4) as (port, relay):
        set_local(project, server.settings(store, port))
        done = project.ask("dvc", *words)
    set_local(project, server.settings(store))
    assert relay.left < 0, f"it ended before it was disturbed: {done.stdout}{done.stderr}"
    assert done.returncode != 0, done.stdout

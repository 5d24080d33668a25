"""What every remote must do, whatever it is made of."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from .project import Project


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


def interrupted(
    project: Project, words: tuple[str, ...], arrived: Callable[[], bool], kill: Callable[[], None]
) -> None:
    """Run a DVC command whose server dies once something has arrived; it must fail, not hang."""
    command = project.start(*words)
    ends = time.monotonic() + 60
    while not arrived():
        assert command.poll() is None, f"it ended before it was disturbed: {command.communicate()}"
        assert time.monotonic() < ends, "nothing arrives"
        time.sleep(0.002)
    kill()
    said, _ = command.communicate(timeout=120)
    assert command.returncode != 0, said


def cached(project: Project) -> int:
    """Files in a project's cache, half-written ones included."""
    return sum(path.is_file() for path in (project.root / ".dvc/cache").rglob("*"))

"""The child process reports a remote as JSON."""

from __future__ import annotations

import json
import subprocess
import sys

from pipeline.doctor.remote_worker import causes
from pipeline.doctor.remotes import WORKER
from tests.remotes.project import Project


def test_causes_are_listed_outermost_first() -> None:
    try:
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise OSError("outer") from error
    except OSError as error:
        assert causes(error) == [("OSError", "outer"), ("KeyError", "'inner'")]
    assert causes(None) == []


def _reach(project: Project) -> dict[str, object]:
    words = [sys.executable, "-P", str(WORKER)]
    done = subprocess.run(words, cwd=project.root, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def test_a_remote_is_reported(project: Project) -> None:
    assert _reach(project) == {}
    config = project.root / ".dvc/config"
    store = project.root.parent / "store"
    config.write_text(f"[core]\n    remote = s\n['remote \"s\"']\n    url = {store}\n")
    said = _reach(project)
    assert (said["name"], said["url"], said["path"]) == ("s", str(store), str(store))
    assert "FileNotFoundError" in str(said["causes"])
    store.mkdir()
    assert _reach(project)["causes"] == []

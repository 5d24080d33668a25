"""A `dvc` that records its calls and keeps its queue in a file, for fast tests of sweeps.

It runs no stages. A run succeeds, or fails if its seed is 13. What happens to queued runs is a list
of events; one is applied whenever the queue is started or asked for its status. The slow tests in
this folder show the same behaviour with the real DVC.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline.experiments.dvc import Repository

__all__ = ["FakeDvc", "fake_dvc"]
PROGRAM = """
import json, os, pathlib, signal, subprocess, sys, time

folder, words = pathlib.Path(os.environ["FAKE_DVC"]), sys.argv[1:]
name = words[-1] if "--name" not in words else words[words.index("--name") + 1]
with (folder / "calls.jsonl").open("a") as file:
    file.write(json.dumps({"words": words, "gpus": os.environ.get("PIPELINE_GPUS")}) + "\\n")


def load(name, default):
    path = folder / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else default


def save(name, content):
    (folder / f"{name}.json").write_text(json.dumps(content))


def reference(name):
    head = subprocess.check_output(["git", "rev-parse", "HEAD"], text=True).strip()
    return f"refs/exps/{head[:2]}/{head[2:]}/{name}"


def succeed(name):
    subprocess.run(["git", "update-ref", reference(name), "HEAD"], check=True)


def apply_next(list_name):
    events = load(list_name, [])
    for run, status in (events[0] if events else {}).items():
        tasks[run] = status
        if status == "Success":
            succeed(run)
    save(list_name, events[1:])


tasks = load("tasks", {})
if words[:2] == ["exp", "run"] and "--queue" in words:
    if name in tasks:
        sys.exit(f"ERROR: {name} is queued already")
    tasks[name] = "Queued"
elif words[:2] == ["exp", "run"]:
    with open("params.yaml", "a") as file:
        file.write("# set by a run\\n")
    if load("terminate", False):
        signal.signal(signal.SIGINT, lambda *_: sys.exit("interrupted"))
        os.kill(os.getppid(), signal.SIGTERM)
        time.sleep(60)
        sys.exit("nobody interrupted this run")
    if "train.seed=13" in words:
        sys.exit("some output\\nthirteen is refused")
    pathlib.Path("untracked").touch()
    succeed(name)
elif words[:2] == ["exp", "push"]:
    subprocess.run(["git", "push", "-q", words[-2], reference(name)], check=True)
elif words[:2] == ["queue", "start"]:
    apply_next("starts")
elif words[:2] == ["queue", "status"]:
    apply_next("polls")
    if len((folder / "calls.jsonl").read_text().splitlines()) > 50:
        sys.exit("ERROR: nobody sees that nothing happens")
    print(f"Task     {'Name':<{max(map(len, tasks), default=0)}}  Created    Status")
    for run, status in tasks.items():
        print(f"1b500c3  {run}  12:53 PM   {status}")
    print("\\nWorker status: 0 active, 0 idle")
elif words[:2] == ["queue", "remove"]:
    del tasks[name]
elif words[:2] == ["queue", "logs"]:
    print("ERROR: thirteen is refused")
elif words[0] == "checkout" and load("refuse", False):
    sys.exit("ERROR: missing from the cache")
elif words == ["cache", "dir"]:
    print(".dvc/cache")
save("tasks", tasks)
"""


@dataclass(frozen=True)
class FakeDvc:
    """The state of the fake, in a folder."""

    folder: Path

    def calls(self, *first: str) -> list[list[str]]:
        """Return the arguments of each call so far that starts with some words."""
        return [call["words"] for call in self._calls() if call["words"][: len(first)] == [*first]]

    def gpus(self) -> list[str | None]:
        """Return PIPELINE_GPUS of each start of the queue."""
        return [call["gpus"] for call in self._calls() if call["words"][:2] == ["queue", "start"]]

    def set_tasks(self, tasks: dict[str, str]) -> None:
        """Set the status of each task in the queue by the name of its run."""
        self._save("tasks", tasks)

    def on_starts(self, *events: dict[str, str]) -> None:
        """Set the changes of tasks that the next starts of the queue cause."""
        self._save("starts", events)

    def on_polls(self, *events: dict[str, str]) -> None:
        """Set the changes of tasks that are seen by the next questions for the status."""
        self._save("polls", events)

    def terminate_the_caller(self) -> None:
        """Make the next runs send SIGTERM to the process that started them, and wait."""
        self._save("terminate", True)

    def refuse_checkouts(self) -> None:
        """Let each checkout fail."""
        self._save("refuse", True)

    def _calls(self) -> list[dict[str, Any]]:
        path = self.folder / "calls.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def _save(self, name: str, content: object) -> None:
        (self.folder / f"{name}.json").write_text(json.dumps(content))


@pytest.fixture
def fake_dvc(tiny: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeDvc:
    """Replace `python -m dvc` in child processes."""
    folder = tmp_path / "fake_dvc"
    (folder / "modules/dvc").mkdir(parents=True)
    (folder / "modules/dvc/__init__.py").touch()
    (folder / "modules/dvc/__main__.py").write_text(PROGRAM)
    monkeypatch.setenv("PYTHONPATH", f"{folder / 'modules'}{os.pathsep}{os.environ['PYTHONPATH']}")
    monkeypatch.setenv("FAKE_DVC", str(folder))
    return FakeDvc(folder)

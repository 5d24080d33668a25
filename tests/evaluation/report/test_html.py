"""Tests the report: one file, no network, n for every diagram, a note for every missing part."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from pipeline.dataset.store import Dataset
from pipeline.evaluation.failures import Demonstrations, classify
from pipeline.evaluation.judge import judge
from pipeline.evaluation.open_loop import OpenLoop
from pipeline.evaluation.report.html import Findings, ReportError, write_report
from pipeline.evaluation.rollout import Loop
from pipeline.evaluation.trials import Trials, expert_commands
from pipeline.layout import Layout
from pipeline.params import Params
from pipeline.robot.collision import CollisionChecker

STEPS = 60


@pytest.fixture(scope="module")
def found(
    params: Params, loop: Loop, trials: Trials, tmp_path_factory: pytest.TempPathFactory
) -> Findings:
    """A policy that stands still: every rollout fails."""
    folder = tmp_path_factory.mktemp("artifacts")
    (folder / "train").mkdir()
    params = params.override("evaluate", films=2)
    commands = expert_commands(trials, 30.0, STEPS)
    checker = CollisionChecker(params.robot, params.task)
    still = np.tile(loop.model.home, (3, STEPS, 1))
    results = {
        name: judge(loop.replay(motion, trials), trials, checker, params.task)
        for name, motion in (("policy", still), ("expert", commands), ("stand_still", still))
    }
    layout = Layout.from_params(params)
    state = layout.pack(
        {
            "joint_pos": commands,
            "joint_vel": np.zeros_like(commands),
            "ee_pose": loop.model.fk(commands),
            "object_pos": trials.object_pos[:, None],
            "object_axis": trials.object_axis[:, None],
        }
    ).reshape(3 * STEPS, -1)
    dataset = Dataset(
        folder / "dataset" / "pen_grasp.zarr", state, commands.reshape(-1, 6).astype(np.float32),
        np.arange(1, 4) * STEPS, np.array([0, 0, 2], np.int8), 30.0, layout, {}, {},
    )  # fmt: skip
    known = Demonstrations.from_dataset(dataset)
    failures = classify(
        results["policy"], results["expert"], trials, known, loop.model, params.task,
        params.evaluate.failures,
    )  # fmt: skip
    chunk = np.zeros((4, 16, 6))
    summary = {
        "windows": 4, "episodes": 1, "joint_rmse_deg": 1.5, "ee_rmse_mm": 2.5, "ee_rmse_deg": 0.5,
    }  # fmt: skip
    return Findings(
        params, folder / "train" / "best_model.pt", dataset, 30.0, trials, results,
        OpenLoop(chunk, chunk, summary, np.ones(16), np.ones(6)), known, failures,
        {"closed_loop": {"note": "<script>alert(1)</script>"}},
    )  # fmt: skip


def _report(found: Findings, folder: Path) -> str:
    write_report(folder, found)
    return (folder / "report.html").read_text(encoding="utf-8")


class _Balance(HTMLParser):
    """Collects elements that are closed in the wrong order."""

    VOID = frozenset({"meta", "input", "img", "br", "link"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        """Ignore self-closing elements such as <use …/>."""

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


@pytest.fixture(scope="module")
def page(found: Findings, tmp_path_factory: pytest.TempPathFactory) -> str:
    return _report(found, tmp_path_factory.mktemp("evaluate"))


def test_the_page_is_complete_and_needs_no_network(page: str) -> None:
    balance = _Balance()
    balance.feed(page)
    assert (balance.open, balance.wrong) == ([], [])
    sources = re.findall(r'(?:src|href)="([^"]+)"|url\(([^)]+)\)', page)
    assert all((first or second).startswith(("#", "data:")) for first, second in sources)
    assert "@import" not in page
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", page)
    assert len(captions) > 15
    assert all("n\u00a0=\u00a0" in caption for caption in captions)


def test_the_page_shows_the_results(page: str) -> None:
    assert "strict and free of contact: 0 of n = 3" in page
    assert "expert (ceiling)" in page
    shown = re.findall(r"<b>Trial (\d+)</b>", page)
    assert len(shown) == 2
    assert (
        re.findall(r"<code class=\"soft\">python -m pipeline play --trial (\d+)</code>", page)
        == shown
    )
    assert page.count('</td><td class="keep">') == 3
    assert 'id="why"' in page
    assert "No rollout of n" not in page
    assert "No history.csv beside the checkpoint" in page
    assert "No ingest/report.json" in page
    assert 'id="robustness"' not in page
    assert "<script>alert" not in page


@pytest.mark.parametrize(
    ("redirected", "words"),
    [(3, "in 3 of the rollouts another one was started"), (0, "own always arrived"), (None, "")],
)
def test_motions_that_were_started_another_way_are_counted(
    found: Findings, tmp_path: Path, redirected: int | None, words: str
) -> None:
    counts = dict.fromkeys(("free", "held"), 1)
    guard = {"chunks": counts, "rollouts": counts, "reasons": {}}
    metrics = {"guard": guard, "execution": {"redirected": redirected}}
    page = _report(replace(found, metrics=metrics), tmp_path)
    assert words in page
    assert ("Whole motions were computed ahead" in page) == (redirected is not None)


def test_files_of_earlier_stages_are_shown(found: Findings, tmp_path: Path) -> None:
    train, ingest = found.model.parent, found.dataset.path.parent.parent / "ingest"
    history, report, plots = train / "history.csv", ingest / "report.json", tmp_path / "plots"
    for folder in (ingest, plots):
        folder.mkdir()
    history.write_text("epoch,train_loss,val_loss,lr\n1,0.5,0.4,0.001\n2,0.3,0.2,0\n")
    totals = {"accepted": 7, "warned": 0, "rejected": 2}
    content = {"totals": totals, "codes": {"TOO_SHORT": 2}, "sources": [{}], "state": "planned"}
    report.write_text(json.dumps(content))
    (plots / "robustness.png").write_bytes(b"\x89PNG")
    latency = {"n": 50, "success_collision_free": 0.9, "ci95_collision_free": [0.8, 0.95]}
    try:
        quick = found.params.override("evaluate", films=0)
        metrics = {"robustness": {"latency": latency}}
        page = _report(replace(found, metrics=metrics, params=quick), tmp_path)
    finally:
        history.unlink()
        report.unlink()
        ingest.rmdir()
    assert "loss, n\u00a0=\u00a02 epochs" in page
    assert "TOO_SHORT" in page
    assert 'id="robustness"' in page
    assert "n\u00a0=\u00a050 each" in page
    assert 'class="plot" src="data:image/png' in page


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("history.csv", "epoch,loss\n1,2\n", "history.csv.*val_loss"),
        ("history.csv", "epoch,train_loss,val_loss\n1,x,2\n", "history.csv.*numbers"),
        ("config.json", "{", "config.json.*no JSON"),
        ("config.json", "[]", "config.json.*list"),
    ],
)
def test_a_broken_file_is_named(
    found: Findings, tmp_path: Path, name: str, content: str, words: str
) -> None:
    other = tmp_path / "train"
    other.mkdir()
    (other / name).write_text(content)
    with pytest.raises(ReportError, match=words):
        _report(replace(found, model=other / "best_model.pt"), tmp_path)

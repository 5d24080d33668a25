"""Writes report.html: all results of an evaluation in one file that needs no network.

Also shows files that earlier stages wrote beside its inputs, and states which of them are missing.
"""

from __future__ import annotations

import base64
import csv
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from numpy.typing import NDArray

from pipeline.dataset.split import SPLIT_NAMES
from pipeline.dataset.store import Dataset
from pipeline.errors import PipelineError
from pipeline.evaluation import metrics
from pipeline.evaluation.failures import CLASSES, Demonstrations, Failure, count
from pipeline.evaluation.judge import ClosedLoop
from pipeline.evaluation.open_loop import OpenLoop
from pipeline.evaluation.report import diagrams
from pipeline.evaluation.report.films import Film, films
from pipeline.evaluation.trials import Trials
from pipeline.params import Params
from pipeline.run import versions

Array = NDArray[np.float64]
TEMPLATE = "report.html.jinja"
LISTED = 50
"""Largest number of failures listed in the page; failures.csv has all of them."""
PACKAGES = ("torch", "numpy", "scipy", "mujoco", "pin", "ompl", "toppra", "zarr", "matplotlib")
HEADLINE = {"n", "success_collision_free", "ci95_collision_free"}
"""Keys that a row of metrics.json needs to be drawn."""
SECTIONS = ("robot", "task", "collect", "dataset", "evaluate")
"""Sections that an evaluation reads; the training's own file has the training's parameters."""


class ReportError(PipelineError):
    """A file of an earlier stage cannot be read."""


@dataclass(frozen=True)
class Findings:
    """The results of an evaluation and its inputs."""

    params: Params
    model: Path
    """The checkpoint; the training's history.csv and config.json are expected beside it."""
    dataset: Dataset
    """The data set; the ingest's report.json is expected in the folder `ingest` beside its own."""
    rate_hz: float
    trials: Trials
    results: Mapping[str, ClosedLoop]
    """Keys policy, expert and stand_still."""
    open_loop: OpenLoop
    known: Demonstrations
    failures: list[Failure]
    metrics: Mapping[str, Any]
    """As in metrics.json."""
    drawn: Future[tuple[list[Film], str]] | None = None
    """Films that are being drawn by `films_of`; None draws them with the report."""


def write_report(folder: Path, found: Findings) -> None:
    """Write report.html.

    Args:
        folder: folder of the evaluation; the report shows pictures in its `plots` if it has no
            diagram of its own for them.
        found: the results to show.

    Raises:
        ReportError: a file of an earlier stage cannot be read.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda share: f"{share * 100:.1f} %"
    # Read other stages' files first, so that a broken one fails before the films are drawn.
    parts = {**_origins(found, folder), **_headline(found), **_closed_loop(found)}
    page = environment.get_template(TEMPLATE).render(**parts)
    (folder / "report.html").write_text(page, encoding="utf-8")


def _headline(found: Findings) -> dict[str, Any]:
    def row(name: str, result: ClosedLoop) -> dict[str, Any]:
        shares = {}
        for measure, passed in result.passed.items():
            hits, number = int(passed.sum()), len(passed)
            low, high = metrics.wilson_interval(hits, number)
            shares[measure] = {
                "hits": hits,
                "share": hits / number,
                "low": low * 100,
                "high": high * 100,
            }
        return {"name": name.replace("_", " "), "shares": shares, **result.summary}

    rows = [row(name, result) for name, result in found.results.items()]
    return {
        "object": found.params.task.object,
        "task": found.params.task,
        "rows": rows,
        "policy": rows[0],
        "drawn": found.trials.drawn,
        "around": [len(found.trials.around(trial)) for trial in range(len(found.trials))],
        "rate_hz": found.rate_hz,
        "steps": found.params.evaluate.rollout_steps,
    }


def _closed_loop(found: Findings) -> dict[str, Any]:
    policy, expert = found.results["policy"], found.results["expert"]
    task, joints = found.params.task, found.params.robot.joints
    final_mm = policy.error.cap_m[:, -1] * 1000
    order = _worst_first(policy)
    if found.drawn is None:
        made, how = films_of(found.params, found.trials, found.results, found.rate_hz)
    else:
        made, how = found.drawn.result()
    classes = {failure.trial: failure.kind for failure in found.failures}
    median = int(np.argsort(final_mm)[len(final_mm) // 2])
    curves = {"of median error": median, "the worst": order[0]}
    return {
        "maps": diagrams.workspace(found.trials, task, policy, found.known),
        "over_time": diagrams.over_time(policy, expert, found.rate_hz),
        "films": [
            {
                "film": film,
                "kind": classes.get(film.trial, "success"),
                "final_mm": float(final_mm[film.trial]),
                "final_deg": float(policy.error.angle_deg[film.trial, -1]),
                "distance": _curve(policy.error.cap_m[film.trial] * 1000),
            }
            for film in made
        ],
        "films_how": how,
        "strict_log": float(np.clip(np.log10(task.strict_m * 1000) + 1, 0, 4)),
        "curves": [
            (f"{name}: trial {trial}, {final_mm[trial]:.1f} mm at the end",
             diagrams.joint_curves(policy, expert, joints, trial, found.rate_hz))
            for name, trial in curves.items()
        ],
        "classes": CLASSES,
        "counts": count(found.failures),
        "failures": found.failures[:LISTED],
        "num_failures": len(found.failures),
        "open_loop": found.open_loop.summary,
        "open_loop_figures": diagrams.open_loop(found.open_loop, joints),
    }  # fmt: skip


def films_of(
    params: Params, trials: Trials, results: Mapping[str, ClosedLoop], rate_hz: float
) -> tuple[list[Film], str]:
    """Make films of the worst rollouts, mostly in a child process.

    Args:
        params: sections robot, task and evaluate.
        trials: objects of the rollouts.
        results: keys policy and expert.
        rate_hz: control steps per second.

    Returns:
        The films, and how they were made.
    """
    policy, expert = results["policy"], results["expert"]
    worst = _worst_first(policy)[: params.evaluate.films]
    return films(params, trials, policy.rollouts, expert.rollouts, worst, rate_hz)


def _worst_first(policy: ClosedLoop) -> list[int]:
    """Trials by their final error. Failures first: a collision may end close to the cap."""
    final_m = policy.error.cap_m[:, -1]
    order: list[int] = np.lexsort((-final_m * 1000, policy.passed["collision_free"])).tolist()
    return order


def _curve(distance_mm: Array) -> str:
    """Convert distances to polyline points in a box of 100 by 30, log scale 0.1 mm to 1 m."""
    height = np.clip(np.log10(np.maximum(distance_mm, 0.1)) + 1, 0, 4) / 4
    across = np.linspace(0, 100, len(distance_mm))
    return " ".join(f"{x:.1f},{30 - 30 * y:.1f}" for x, y in zip(across, height, strict=True))


def _origins(found: Findings, folder: Path) -> dict[str, Any]:
    """Collect the policy's origin: data, training, parameters and versions."""
    dataset, train = found.dataset, found.model.parent
    history = _history(train / "history.csv")
    config = _read_json(train / "config.json")
    ingest = _read_json(dataset.path.parent.parent / "ingest" / "report.json")
    robustness = {
        name: row
        for name, row in (found.metrics.get("robustness") or {}).items()
        if isinstance(row, dict) and row.keys() >= HEADLINE
    }
    picture = folder / "plots" / "robustness.png"
    lengths = np.diff(dataset.episode_ends, prepend=0)
    splits = [
        (name, len(chosen), int(lengths[chosen].sum()))
        for name, chosen in ((name, dataset.episodes(name)) for name in SPLIT_NAMES)
    ]
    sections = {name: getattr(found.params, name).model_dump(mode="json") for name in SECTIONS}
    return {
        "data": dataset.path,
        "splits": splits,
        "data_facts": [
            ("episodes", dataset.num_episodes),
            ("steps", dataset.num_steps),
            ("control rate", f"{found.rate_hz:g} Hz"),
            ("layout", f"{dataset.layout.describe()} ({dataset.layout.fingerprint})"),
        ],
        "episode_statistics": diagrams.episode_statistics(dataset, found.rate_hz),
        "ingest": ingest,
        "history": history,
        "loss_figures": diagrams.losses(history) if history else [],
        "training": None if config is None else list(_flat(config)),
        "model": found.model,
        "robustness": diagrams.robustness(robustness) if robustness else [],
        "robustness_rows": robustness,
        "backends": found.metrics.get("backends") or {},
        "guard": found.metrics.get("guard") or {},
        "redirected": (found.metrics.get("execution") or {}).get("redirected"),
        "fallback": found.metrics.get("fallback") or {},
        "robustness_png": _data_uri(picture) if picture.is_file() else None,
        "numbers": list(_flat(found.metrics)),
        "sections": {name: list(_flat(section)) for name, section in sections.items()},
        "versions": versions(*PACKAGES),
    }


def _history(path: Path) -> dict[str, Array] | None:
    """Read the columns of the training's history.csv; None if there is no file."""
    if not path.is_file():
        return None
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    try:
        names = ("epoch", "train_loss", "val_loss")
        return {name: np.array([float(row[name]) for row in rows]) for name in names}
    except (KeyError, TypeError, ValueError) as error:
        raise ReportError(
            f"{path}: {error!r} while reading; expected columns epoch, train_loss and val_loss of "
            "numbers, as `train` writes them: train again, or remove the file"
        ) from error


def _read_json(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ReportError(
            f"{path}: no JSON ({error}); expected what its stage writes: run the stage again, "
            "or remove the file"
        ) from error
    if not isinstance(data, dict):
        raise ReportError(f"{path}: holds a {type(data).__name__}, expected a JSON object")
    return data


def _data_uri(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


def _flat(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Flatten nested values to rows of dotted key and text."""
    for key, value in data.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif isinstance(value, float):
            yield f"{prefix}{key}", f"{value:.6g}"
        elif isinstance(value, list) and not any(isinstance(item, dict | list) for item in value):
            parts = (f"{item:.6g}" if isinstance(item, float) else str(item) for item in value)
            yield f"{prefix}{key}", ", ".join(parts)
        else:
            yield f"{prefix}{key}", str(value)

"""Writes the model card: what a policy is, its data, success and latency, and how to load it.

Every figure comes from a stage's own file or params.yaml, so the same results give the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, UndefinedError

from pipeline.errors import PipelineError
from pipeline.params import Params

FILES = {
    "metrics": "artifacts/evaluate/metrics.json",
    "export": "artifacts/export/export.json",
    "report": "artifacts/ingest/report.json",
    "dataset": "artifacts/dataset/dataset.json",
    "train": "artifacts/train/metrics.json",
}
MOST_SOURCES = 20
"""Recordings that are listed one by one."""


class CardError(PipelineError):
    """The results lack what a card needs."""


def read_results(root: Path) -> dict[str, Any]:
    """Read what the stages wrote about themselves.

    Args:
        root: the repository.

    Returns:
        Contents by the names of `FILES`.

    Raises:
        CardError: a file is missing or no JSON.
    """
    found = {}
    for name, path in FILES.items():
        try:
            found[name] = json.loads((root / path).read_text())
        except (OSError, ValueError) as error:
            raise CardError(f"{root / path}: {error}; run `make repro`, or `make pull`") from error
    return found


def write_card(name: str, version: str, results: dict[str, Any], params: Params) -> str:
    """The card as Markdown.

    Args:
        name: of the artifact.
        version: for instance v1.0.0.
        results: see `read_results`.
        params: that the results were made with.

    Raises:
        CardError: a figure is missing.
    """
    environment = Environment(
        loader=PackageLoader("pipeline.release", "."),
        autoescape=False,  # Markdown, of our own figures
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.globals.update(share=_share, percent=_percent)
    try:
        return environment.get_template("card.md.jinja").render(
            name=name, version=version, **_figures(results, params)
        )
    except (KeyError, TypeError, UndefinedError) as error:
        raise CardError(
            f"{', '.join(FILES.values())}: a figure of the card is missing ({error}); "
            "`make repro` writes them anew"
        ) from error


def _figures(results: dict[str, Any], params: Params) -> dict[str, Any]:
    metrics, export, report = results["metrics"], results["export"], results["report"]
    sources = report["sources"]
    return {
        "robot": params.robot,
        "task": params.task,
        "policy": params.policy,
        "execution": params.execution,
        "release": params.release,
        "rate_hz": params.dataset.rate_hz,
        "train_seed": params.train.seed,
        "evaluate_seed": params.evaluate.seed,
        "precision": params.export.precision,
        "inputs": export["onnx"]["inputs"],
        "export": export,
        "report": report,
        "dataset": results["dataset"],
        "train": results["train"],
        "sources": sources[:MOST_SOURCES],
        "more_sources": len(sources[MOST_SOURCES:]),
        "loop": metrics["closed_loop"],
        "expert": metrics["expert"],
        "grasp": metrics.get("grasp"),
        "failed": [(kind, count) for kind, count in metrics["failures"].items() if count],
        "conditions": [
            (name.replace("_", " "), row)
            for name, row in metrics.get("robustness", {}).items()
            if not name.startswith("nominal")
        ],
        "parity": max(export["parity"]["max_abs_rad"].values()),
        "backends": list(_backends(export["backends"])),
    }


def _backends(found: dict[str, Any]) -> Iterator[dict[str, str]]:
    """A row a backend, or a row an engine of it."""
    for name, entries in found.items():
        for entry in entries if isinstance(entries, list) else [entries]:
            latency = entry.get("latency_batch_1")
            reason = f" ({entry['reason']})" if entry.get("reason") else ""
            yield {
                "backend": " ".join(filter(None, (name, entry.get("target")))),
                "status": entry["status"] + reason,
                "median": f"{latency['median_ms']:.2f} ms" if latency else "–",
                "p99": f"{latency['p99_ms']:.2f} ms" if latency else "–",
            }


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _share(value: float, interval: list[float]) -> str:
    return f"{100 * value:.1f} % ({100 * interval[0]:.1f}–{100 * interval[1]:.1f})"

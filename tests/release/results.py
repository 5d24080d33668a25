"""What the stages write about themselves, as small as a model card needs it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipeline.release.card import FILES


def results(pens: int = 200, lower: float = 0.981, free: float = 0.981) -> dict[str, Any]:
    """Contents by the names of `card.FILES`.

    Args:
        pens: of the closed loop, all of them successes.
        lower: end of the interval of strict success.
        free: the same of strict success free of contact.
    """
    row = {
        "n": pens,
        "success_team": 1.0,
        "success_strict": 1.0,
        "success_5mm": 0.995,
        "success_collision_free": 1.0,
        "ci95_strict": [lower, 1.0],
        "ci95_collision_free": [free, 1.0],
        "error_mm_median": 0.7278,
        "collisions": 0,
    }
    return {
        "metrics": {
            "closed_loop": row,
            "expert": {"n": pens, "success_strict": 1.0},
            "failures": {"collision": 0, "stopped short": 1},
            "robustness": {
                "nominal_0": row,
                "gains_divided_10": {
                    **row,
                    "n": 60,
                    "ci95_strict": [0.94, 1.0],
                    "ci95_collision_free": [0.94, 1.0],
                },
            },
            "grasp": {"n": 20, "success": 1.0, "ci95": [0.839, 1.0]},
        },
        "export": {
            "layout_fingerprint": "51ffad8c41f1",
            "onnx": {"sha256": "a5dbb", "opset": 18, "inputs": {"obs": ["batch", 2, 25]}},
            "parity": {"max_abs_rad": {"1": 8.6e-07, "64": 1.13e-06}, "limit_rad": 1e-05},
            "backends": {
                "onnxruntime": {
                    "status": "built and run",
                    "latency_batch_1": {"median_ms": 0.996, "p99_ms": 9.19},
                },
                "tensorrt-rtx": [
                    {"target": "8.9", "status": "built, not run", "reason": "no GPU of this kind"}
                ],
            },
            "machine": {"processor": "AMD EPYC", "threads": 1, "system": "Linux"},
        },
        "report": {
            "totals": {"accepted": 1000, "warned": 2, "rejected": 3},
            "codes": {"TOO_SHORT": 3},
            "sources": [
                {"source": "bag", "storage": "mcap", "sha256": "3a92", "accepted": 1000}
                for _ in range(22)
            ],
        },
        "dataset": {
            "episodes": 1000,
            "steps": 55454,
            "content": "8060dd46dd28",
            "splits": {name: {"episodes": 10} for name in ("train", "val", "test")},
        },
        "train": {"epochs": 16, "best_epoch": 12, "parameters": 690784, "seconds": 237.4},
    }


def write(root: Path, found: dict[str, Any]) -> None:
    """Write them where the stages do."""
    for name, content in found.items():
        path = root / FILES[name]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))

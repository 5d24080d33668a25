"""What computes the chunks of a closed loop: torch, or the exported graph on any engine.

The graph is exported into a temporary folder from the very checkpoint, with the export's own
settings, so that what is driven is what would be shipped. N observations.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import PipelineError
from pipeline.evaluation.judge import ClosedLoop
from pipeline.evaluation.metrics import wilson_interval
from pipeline.evaluation.rollout import Predict, Rollouts
from pipeline.export.graph import export_onnx
from pipeline.params import Params
from pipeline.policy import DiffusionPolicy
from pipeline.robot.model import RobotModel
from pipeline.runtime.load import load_policy
from pipeline.runtime.session import Deployment

Array = NDArray[np.float64]


class DriverError(PipelineError):
    """The backend that shall drive the evaluation is not here."""


@dataclass(frozen=True)
class Driver:
    """A backend that runs here, or the reason why it does not."""

    name: str
    predict: Predict | None
    reason: str = ""


def load_drivers(policy: DiffusionPolicy, params: Params) -> tuple[Predict, list[Driver]]:
    """The backends of `evaluate.backends`; the first must run, the others may be absent.

    Args:
        policy: the checkpoint, on torch.
        params: sections evaluate, export, and what the graph carries.

    Returns:
        What the first computes, and all of them.

    Raises:
        DriverError: the first does not run here.
    """
    names = params.evaluate.backends
    with tempfile.TemporaryDirectory() as folder:
        graph = Path(folder) / "policy.onnx"
        limits = RobotModel.from_params(params.robot).limits
        deployment = Deployment.from_params(params.execution, limits)
        if set(names) - {"torch"}:
            export_onnx(
                policy.bundle, graph, params.export.opset, {"deployment": deployment.to_json()},
                params.export.unrolled, params.export.precision,
            )  # fmt: skip
        drivers = [_load(name, policy, graph) for name in names]
    first = drivers[0].predict
    if first is None:
        raise DriverError(
            f"evaluate.backends begins with {drivers[0].name}, which does not run here: "
            f"{drivers[0].reason}; put one first that does, for instance torch"
        )
    return first, drivers


def _load(name: str, policy: DiffusionPolicy, graph: Path) -> Driver:
    if name == "torch":
        return Driver(
            name, lambda obs, noise: np.asarray(policy.predict(obs, noise).cpu(), np.float64)
        )
    try:
        backend = load_policy(graph, name).backend
    except PipelineError as error:
        return Driver(name, None, str(error).partition(f"{name}: ")[2] or str(error))
    return Driver(name, lambda obs, noise: np.asarray(backend.predict(obs, noise), float))


def compare_drivers(
    drivers: list[Driver], first: ClosedLoop, run: Callable[[Predict], ClosedLoop]
) -> dict[str, Any]:
    """Drive the same objects with the same noise by each backend.

    Args:
        drivers: the first has driven already.
        first: what became of it.
        run: the same rollouts by another one.

    Returns:
        The entry `backends` of metrics.json: a status, success with interval, and how far the arms
        were from where the first backend led them, by backend.
    """
    found: dict[str, Any] = {}
    for index, driver in enumerate(drivers):
        if driver.predict is None:
            found[driver.name] = {"status": "not here", "reason": driver.reason}
            continue
        result = run(driver.predict) if index else first
        found[driver.name] = {"status": "driven", **_row(result, first.rollouts)}
    return found


def _row(result: ClosedLoop, reference: Rollouts) -> dict[str, Any]:
    strict, number = result.passed["strict"], len(result.passed["strict"])
    apart = np.abs(result.rollouts.joint_pos - reference.joint_pos).max(axis=(1, 2))
    return {
        "n": number,
        "success_team": result.summary["success_team"],
        "success_strict": result.summary["success_strict"],
        "ci95_strict": list(wilson_interval(int(strict.sum()), number)),
        "success_collision_free": result.summary["success_collision_free"],
        "error_mm_median": result.summary["error_mm_median"],
        "max_joint_difference_rad": float(apart.max()),
        "median_joint_difference_rad": float(np.median(apart)),
    }

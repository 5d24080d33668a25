"""Loads the backends that compute chunks in closed loop: torch, or the exported graph.

The graph is exported from the same checkpoint into a temporary folder with the settings of section
export, so that the evaluated graph equals the one that would be released. N observations.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import PipelineError
from pipeline.evaluation.judge import ClosedLoop
from pipeline.evaluation.rollout import Predict, Rollouts
from pipeline.export.graph import export_onnx
from pipeline.params import Params
from pipeline.policy import DiffusionPolicy
from pipeline.robot.model import RobotModel
from pipeline.run import state_root
from pipeline.runtime.deployment import Deployment
from pipeline.runtime.load import load_policy

Array = NDArray[np.float64]
SHOWN = (
    "n", "success_team", "success_strict", "ci95_strict", "success_collision_free",
    "ci95_collision_free", "error_mm_median",
)  # fmt: skip
"""Keys of a closed loop's summary that are compared between backends."""


class PredictorError(PipelineError):
    """The backend chosen for the evaluation is not available."""


@dataclass(frozen=True)
class Predictor:
    """A backend that runs here, or the reason why it does not."""

    name: str
    predict: Predict | None
    reason: str = ""


def load_predictors(
    policy: DiffusionPolicy, names: Sequence[str], params: Params
) -> tuple[Predict, list[Predictor]]:
    """Load backends; the first must run, the others may be missing.

    Args:
        policy: the checkpoint, loaded with torch.
        names: those of `evaluate.backends`, or the first ones of them.
        params: section export, and those that the graph stores.

    Returns:
        The prediction function of the first backend, and all backends.

    Raises:
        PredictorError: the first backend does not run here.
    """
    with tempfile.TemporaryDirectory() as folder:
        graph = Path(folder) / "policy.onnx"
        limits = RobotModel.from_params(params.robot).limits
        deployment = Deployment.from_params(params.execution, limits)
        if set(names) - {"torch"}:
            export_onnx(
                policy.checkpoint, graph, params.export.opset, {"deployment": deployment.to_json()},
                params.export.unrolled, params.export.precision, state_root("export"),
            )  # fmt: skip
        predictors = [_load(name, policy, graph) for name in names]
    first = predictors[0].predict
    if first is None:
        raise PredictorError(
            f"evaluate.backends begins with {predictors[0].name}, which does not run here: "
            f"{predictors[0].reason}; put a backend that runs first, for instance torch"
        )
    return first, predictors


def _load(name: str, policy: DiffusionPolicy, graph: Path) -> Predictor:
    if name == "torch":
        return Predictor(
            name, lambda obs, noise: np.asarray(policy.predict(obs, noise).cpu(), np.float64)
        )
    try:
        backend = load_policy(graph, name).backend
    except PipelineError as error:
        return Predictor(name, None, str(error).partition(f"{name}: ")[2] or str(error))
    return Predictor(name, lambda obs, noise: np.asarray(backend.predict(obs, noise), float))


def compare_backends(
    predictors: list[Predictor], first: ClosedLoop, run: Callable[[Predict], ClosedLoop]
) -> dict[str, Any]:
    """Run each backend on the same objects with the same noise.

    Args:
        predictors: all backends; the first one has already run.
        first: rollouts of the first backend.
        run: rolls out another backend on the same objects.

    Returns:
        The entry `backends` of metrics.json: for each backend the status, the success with its
        interval, and the largest difference from the first backend's joint positions.
    """
    found: dict[str, Any] = {}
    for index, predictor in enumerate(predictors):
        if predictor.predict is None:
            found[predictor.name] = {"status": "not here", "reason": predictor.reason}
            continue
        result = run(predictor.predict) if index else first
        found[predictor.name] = {"status": "driven", **_row(result, first.rollouts)}
    return found


def _row(result: ClosedLoop, reference: Rollouts) -> dict[str, Any]:
    apart = np.abs(result.rollouts.joint_pos - reference.joint_pos).max(axis=(1, 2))
    return {
        **{key: result.summary[key] for key in SHOWN},
        "max_joint_difference_rad": float(apart.max()),
        "median_joint_difference_rad": float(np.median(apart)),
    }

"""What an exported policy carries for the robot: how chunks are executed, within which limits."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import PipelineError
from pipeline.kinematics import JointLimits

if TYPE_CHECKING:
    from pipeline.params import ExecutionParams

Array = NDArray[np.float64]


class DeploymentError(PipelineError):
    """The policy cannot be run as requested."""


@dataclass(frozen=True)
class Execution:
    """The section `execution` of params.yaml as the exported policy carries it."""

    mode: Literal["chunk", "blend", "ensemble"]
    execute_steps: int
    blend_steps: int
    ensemble_decay: float
    noise_scale: float
    object_window: int
    object_jump_m: float
    object_jump_deg: float
    object_jump_observations: int = 1
    """One in policies of an earlier export, which were evaluated so."""
    guard: Literal["off", "check", "repair"] = "off"
    """Off in policies of an earlier export, which carry none of the numbers below."""
    guard_margin_m: float = 0.015
    guard_least_m: float = 0.005
    guard_turns: int = 10
    guard_turn_rad: float = 0.05
    guard_smooth_s: float = 0.067
    guard_samples: int = 0
    guard_noise_scale: float = 1.0


@dataclass(frozen=True)
class Deployment:
    """What the robot needs besides the network: how to execute chunks, and the joint limits."""

    execution: Execution
    limits: JointLimits

    @classmethod
    def from_params(cls, execution: ExecutionParams, limits: JointLimits) -> Deployment:
        """Collect what an exported policy carries.

        Args:
            execution: the section `execution`.
            limits: the arm's joint limits.
        """
        return cls(Execution(**execution.model_dump()), limits)

    def to_json(self) -> str:
        """JSON for the metadata of policy.onnx; null stands for a limit that a joint lacks."""
        limits = {
            key: [value if math.isfinite(value) else None for value in values.tolist()]
            for key, values in vars(self.limits).items()
        }
        return json.dumps({"execution": asdict(self.execution), "limits": limits})

    @classmethod
    def from_json(cls, text: str, source: str) -> Deployment:
        """Read what `to_json` wrote.

        Args:
            text: JSON.
            source: the file it was read from, for the message.

        Raises:
            DeploymentError: keys are missing or values have another type.
        """
        try:
            content = json.loads(text)
            limits = {key: _numbers(values, key) for key, values in content["limits"].items()}
            return cls(Execution(**content["execution"]), JointLimits(**limits))
        except (KeyError, TypeError, ValueError) as error:
            raise DeploymentError(
                f"{source}: its metadata `deployment` is broken ({error!r}); export the policy anew"
            ) from error


def _numbers(values: list[float | None], key: str) -> Array:
    endless = -math.inf if key == "lower" else math.inf
    return np.array([endless if value is None else float(value) for value in values])

"""Settings that an exported policy stores for the robot: chunk execution and joint limits."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields, replace
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
    """The section `execution` of params.yaml, as stored in the exported policy."""

    mode: Literal["chunk", "blend", "ensemble"]
    execute_steps: int
    blend_steps: int
    ensemble_decay: float
    noise_scale: float
    object_window: int
    object_jump_m: float
    object_jump_deg: float
    object_jump_observations: int = 1
    """Older exports lack this key; they were evaluated with 1."""
    guard: Literal["off", "check", "repair"] = "off"
    """Older exports lack this key and the following ones; their guard is off."""
    guard_margin_m: float = 0.015
    guard_least_m: float = 0.005
    guard_turns: int = 10
    guard_turn_rad: float = 0.05
    guard_smooth_s: float = 0.067
    guard_samples: int = 0
    guard_noise_scale: float = 1.0
    rehearsals: int = 0


@dataclass(frozen=True)
class Deployment:
    """The settings a robot needs besides the network: chunk execution and joint limits."""

    execution: Execution
    limits: JointLimits

    @classmethod
    def from_params(cls, execution: ExecutionParams, limits: JointLimits) -> Deployment:
        """Build the settings from params.yaml and the robot's limits.

        Args:
            execution: the section `execution`.
            limits: the arm's joint limits.
        """
        carried = {field.name for field in fields(Execution)}
        return cls(Execution(**execution.model_dump(include=carried)), limits)

    @classmethod
    def without_arm(cls, execution: ExecutionParams, number: int) -> Deployment:
        """Build the settings of a policy without an arm: no guard and no limits.

        Args:
            execution: the section `execution`.
            number: of an action.
        """
        endless = np.full(number, np.inf)
        made = cls.from_params(execution, JointLimits(-endless, endless, endless, endless))
        return replace(made, execution=replace(made.execution, guard="off"))

    def to_json(self) -> str:
        """Convert to JSON for the metadata of policy.onnx; null means that a joint has no limit."""
        limits = {
            key: [value if math.isfinite(value) else None for value in values.tolist()]
            for key, values in vars(self.limits).items()
        }
        return json.dumps({"execution": asdict(self.execution), "limits": limits})

    @classmethod
    def from_json(cls, text: str, source: str) -> Deployment:
        """Parse the output of `to_json`.

        Args:
            text: JSON text.
            source: the file that the text comes from, for error messages.

        Raises:
            DeploymentError: a key is missing or a value has the wrong type.
        """
        try:
            content = json.loads(text)
            limits = {key: _numbers(values, key) for key, values in content["limits"].items()}
            return cls(Execution(**content["execution"]), JointLimits(**limits))
        except (KeyError, TypeError, ValueError) as error:
            raise DeploymentError(
                f"{source}: the metadata `deployment` is broken ({error!r}); export the policy "
                "again"
            ) from error


def _numbers(values: list[float | None], key: str) -> Array:
    endless = -math.inf if key == "lower" else math.inf
    return np.array([endless if value is None else float(value) for value in values])

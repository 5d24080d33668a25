"""The layout of states and actions: names, slices, units and a fingerprint.

All packing and unpacking of state vectors happens here.

State:   joint_pos[J] rad, joint_vel[J] rad/s, ee_pose[7], object_pos[3] m, object_axis[3]
Action:  joint_pos[J] rad, absolute

A generic layout has no arm: state and action are plain vectors of any widths.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import PipelineError

if TYPE_CHECKING:
    from pipeline.params import Params

FloatArray = NDArray[np.floating[Any]]


class LayoutError(PipelineError):
    """Two artefacts, or an array and a layout, disagree about the meaning of the numbers."""


@dataclass(frozen=True)
class Field:
    """A named range of numbers in a vector."""

    kind: str
    """Name that does not depend on the object: joint_pos, object_pos, …"""
    name: str
    """Displayed name: pen_pos for kind object_pos if the object is a pen."""
    start: int
    size: int
    unit: str

    @property
    def slice(self) -> slice:
        """Position of the field in the vector."""
        return slice(self.start, self.start + self.size)


@dataclass(frozen=True)
class Layout:
    """The meaning of each number of a state and of an action.

    Layouts with equal fingerprints are equal. Artefacts store the fingerprint and reject others.
    """

    joints: tuple[str, ...]
    object: str
    state: tuple[Field, ...]
    action: tuple[Field, ...]

    @classmethod
    def build(cls, joints: tuple[str, ...], object_name: str, kinds: tuple[str, ...]) -> Layout:
        """Build the layout of an arm and a task.

        Args:
            joints: names of the actuated joints, in order.
            object_name: name of the grasped object, for instance "pen".
            kinds: state fields in order, from joint_pos, joint_vel, ee_pose, object_pos and
                object_axis.

        Raises:
            LayoutError: a field is unknown or named twice.
        """
        number = len(joints)
        known = {
            "joint_pos": ("joint_pos", number, "rad"),
            "joint_vel": ("joint_vel", number, "rad/s"),
            "ee_pose": ("ee_pose", 7, "m, quaternion xyzw"),
            "object_pos": (f"{object_name}_pos", 3, "m"),
            "object_axis": (f"{object_name}_axis", 3, "unit vector"),
        }
        fields: list[Field] = []
        start = 0
        for kind in kinds:
            if kind not in known:
                raise LayoutError(f"state field {kind!r} is unknown; known: {', '.join(known)}")
            name, size, unit = known[kind]
            fields.append(Field(kind, name, start, size, unit))
            start += size
        if len(set(kinds)) != len(kinds):
            raise LayoutError(f"a state field is named twice: {', '.join(kinds)}")
        action = (Field("joint_pos", "joint_pos", 0, number, "rad"),)
        return cls(tuple(joints), object_name, tuple(fields), action)

    @classmethod
    def generic(cls, widths: Mapping[str, int], action_dim: int) -> Layout:
        """Build the layout of plain vectors, without arm, object or units.

        Args:
            widths: numbers in each row of the arrays that make up the state, by name, in order.
            action_dim: numbers of an action, absolute values.
        """
        fields: list[Field] = []
        for name, size in widths.items():
            start = fields[-1].slice.stop if fields else 0
            # The prefix keeps an array called joint_pos from being taken for an arm's joints.
            fields.append(Field(f"data/{name}", name, start, size, ""))
        return cls((), "", tuple(fields), (Field("action", "action", 0, action_dim, ""),))

    @property
    def is_generic(self) -> bool:
        """Whether the numbers are plain vectors, not those of an arm."""
        return not self.joints

    @classmethod
    def from_params(cls, params: Params) -> Layout:
        """Build the layout that params.yaml describes."""
        return cls.build(params.robot.joints, params.task.object, params.task.state_fields)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Layout:
        """Read the layout that an artefact stores (see `to_dict`).

        Raises:
            LayoutError: keys are missing, or the fingerprint does not match the fields.
        """
        try:
            if data["joints"]:
                kinds = tuple(str(field["kind"]) for field in data["state"])
                layout = cls.build(tuple(data["joints"]), str(data["object"]), kinds)
            else:
                widths = {str(field["name"]): int(field["size"]) for field in data["state"]}
                layout = cls.generic(widths, int(data["action"][0]["size"]))
            fingerprint = data["fingerprint"]
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise LayoutError(
                f"expected a layout with joints, object, state and fingerprint, found {data!r} "
                f"({type(error).__name__}: {error})"
            ) from error
        if layout.fingerprint != fingerprint:
            raise LayoutError(
                f"the layout has fingerprint {fingerprint}, but its fields give "
                f"{layout.fingerprint}; another version of the pipeline wrote it: make the "
                "artefact again"
            )
        return layout

    @property
    def state_dim(self) -> int:
        """Length of a state vector."""
        return sum(field.size for field in self.state)

    @property
    def action_dim(self) -> int:
        """Length of an action vector."""
        return sum(field.size for field in self.action)

    @property
    def fingerprint(self) -> str:
        """Hash of names, sizes, units and joint names, twelve hexadecimal digits."""
        text = json.dumps(self._content(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def field(self, kind: str) -> Field:
        """Return the state field of a kind.

        Raises:
            LayoutError: the layout has no such field.
        """
        for field in self.state:
            if field.kind == kind:
                return field
        kinds = ", ".join(field.kind for field in self.state)
        raise LayoutError(f"the state has no field {kind!r}; it has {kinds}")

    def has(self, kind: str) -> bool:
        """Tell whether the state has a field of this kind."""
        return any(field.kind == kind for field in self.state)

    def pack(self, values: Mapping[str, FloatArray]) -> NDArray[np.float32]:
        """Concatenate fields to state vectors.

        Args:
            values: by kind, arrays of shape (..., size) that broadcast over the leading axes.

        Returns:
            States, shape (..., state_dim), float32.

        Raises:
            LayoutError: a field is missing or has the wrong size.
        """
        parts = []
        for field in self.state:
            if field.kind not in values:
                raise LayoutError(f"field {field.kind!r} is missing; given: {', '.join(values)}")
            part = np.asarray(values[field.kind], dtype=np.float32)
            if part.shape[-1:] != (field.size,):
                raise LayoutError(
                    f"{field.name} has shape {part.shape}, expected (..., {field.size})"
                )
            parts.append(part)
        leading = np.broadcast_shapes(*(part.shape[:-1] for part in parts))
        parts = [np.broadcast_to(part, (*leading, part.shape[-1])) for part in parts]
        return np.concatenate(parts, axis=-1)

    def unpack(self, state: FloatArray, kind: str) -> FloatArray:
        """Take one field from state vectors.

        Args:
            state: shape (..., state_dim).
            kind: the field, for instance "joint_pos".

        Returns:
            A view, shape (..., size).

        Raises:
            LayoutError: the last axis does not have length state_dim, or there is no such field.
        """
        if state.shape[-1:] != (self.state_dim,):
            raise LayoutError(f"state has shape {state.shape}, expected (..., {self.state_dim})")
        return state[..., self.field(kind).slice]

    def to_dict(self) -> dict[str, Any]:
        """Convert to a JSON form with the fingerprint, for attributes and metadata."""
        return {**self._content(), "fingerprint": self.fingerprint}

    def require(self, other: Layout, ours: str, theirs: str) -> None:
        """Check that another layout is equal.

        Args:
            other: the other layout.
            ours: file with this layout, for the message.
            theirs: file with the other layout, for the message.

        Raises:
            LayoutError: the fingerprints differ; the message names the first difference.
        """
        if self.fingerprint == other.fingerprint:
            return
        for ours_value, theirs_value in (
            (list(self.joints), list(other.joints)),
            (self.object, other.object),
            (self.describe(), other.describe()),
        ):
            if ours_value != theirs_value:
                raise LayoutError(
                    f"{ours} has layout {self.fingerprint} ({ours_value}), but {theirs} has "
                    f"{other.fingerprint} ({theirs_value}); make one of them again from the other"
                )
        raise LayoutError(f"{ours} and {theirs} have different layouts")

    def describe(self) -> str:
        """Describe the state in one line: `joint_pos[6] + joint_vel[6] + …`."""
        return " + ".join(f"{field.name}[{field.size}]" for field in self.state)

    def describe_action(self) -> str:
        """Describe the action in one line."""
        return "absolute values" if self.is_generic else "joint positions, rad"

    def _content(self) -> dict[str, Any]:
        def rows(fields: tuple[Field, ...]) -> list[dict[str, Any]]:
            return [
                {"kind": field.kind, "name": field.name, "size": field.size, "unit": field.unit}
                for field in fields
            ]

        return {
            "joints": list(self.joints),
            "object": self.object,
            "state": rows(self.state),
            "action": rows(self.action),
        }

"""Packing is the inverse of unpacking, and errors name what differs between layouts."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.layout import Layout, LayoutError

KINDS = ("joint_pos", "joint_vel", "ee_pose", "object_pos", "object_axis")


def _arm(joints: int = 6, kinds: tuple[str, ...] = KINDS, name: str = "pen") -> Layout:
    return Layout.build(tuple(f"joint_{i}" for i in range(joints)), name, kinds)


def test_the_default_layout() -> None:
    layout = _arm()
    assert layout.state_dim == 25
    assert layout.action_dim == 6
    assert layout.describe() == (
        "joint_pos[6] + joint_vel[6] + ee_pose[7] + pen_pos[3] + pen_axis[3]"
    )


@given(joints=st.integers(1, 9), kinds=st.permutations(KINDS), number=st.integers(1, 5))
def test_packing_is_the_inverse_of_unpacking(joints: int, kinds: list[str], number: int) -> None:
    layout = _arm(joints, tuple(kinds[:number]))
    state = np.arange(3 * layout.state_dim, dtype=np.float32).reshape(3, -1)
    fields = {kind: layout.unpack(state, kind) for kind in kinds[:number]}
    assert np.array_equal(layout.pack(fields), state)


def test_packing_broadcasts_constant_fields() -> None:
    layout = _arm(2, ("joint_pos", "object_pos"))
    state = layout.pack({"joint_pos": np.zeros((4, 2)), "object_pos": np.ones(3)})
    assert state.shape == (4, 5)
    assert state.dtype == np.float32


def test_a_layout_survives_json() -> None:
    layout = _arm()
    assert Layout.from_dict(json.loads(json.dumps(layout.to_dict()))) == layout


@pytest.mark.parametrize(
    "other", [_arm(7), _arm(name="cup"), _arm(kinds=KINDS[::-1]), _arm(kinds=KINDS[:3])]
)
def test_another_layout_has_another_fingerprint_and_is_rejected(other: Layout) -> None:
    assert other.fingerprint != _arm().fingerprint
    with pytest.raises(LayoutError, match=r"model\.pt.*data\.zarr"):
        _arm().require(other, "model.pt", "data.zarr")


def test_a_changed_layout_is_rejected() -> None:
    data = _arm().to_dict()
    data["joints"] = data["joints"][::-1]
    with pytest.raises(LayoutError, match="fingerprint"):
        Layout.from_dict(data)


@pytest.mark.parametrize("data", [{}, {"joints": ["a"]}, {"joints": None, "state": 3, "object": 1}])
def test_a_malformed_layout_is_rejected(data: dict[str, object]) -> None:
    with pytest.raises(LayoutError):
        Layout.from_dict(data)


def test_errors_name_the_field_and_the_shape() -> None:
    layout = _arm()
    with pytest.raises(LayoutError, match="unknown"):
        _arm(kinds=("joint_torque",))
    with pytest.raises(LayoutError, match="twice"):
        _arm(kinds=("joint_pos", "joint_pos"))
    with pytest.raises(LayoutError, match="object_axis"):
        layout.pack({kind: np.zeros(layout.field(kind).size) for kind in KINDS[:-1]})
    with pytest.raises(LayoutError, match=r"\(5,\).*6"):
        layout.pack({kind: np.zeros(5) for kind in KINDS})
    with pytest.raises(LayoutError, match=r"\(24,\).*25"):
        layout.unpack(np.zeros(24), "joint_pos")
    with pytest.raises(LayoutError, match="no field 'joint_vel'"):
        _arm(kinds=("joint_pos",)).field("joint_vel")


@pytest.mark.parametrize("data", [None, 3, [], "layout", {"state": None}, {"joints": []}])
def test_the_error_says_what_a_layout_holds(data: object) -> None:
    with pytest.raises(LayoutError, match="expected a layout with joints, object, state"):
        Layout.from_dict(data)  # type: ignore[arg-type]


def test_a_generic_layout_has_vectors_and_no_arm():
    layout = Layout.generic({"joint_pos": 3, "points": 4}, 2)
    assert layout.is_generic and layout.describe() == "joint_pos[3] + points[4]"
    assert (layout.state_dim, layout.action_dim) == (7, 2)
    assert not layout.has("joint_pos"), "an array of that name is not an arm's joints"
    assert layout.field("data/points").slice == slice(3, 7)
    again = Layout.from_dict(layout.to_dict())
    assert again == layout and again.fingerprint == layout.fingerprint
    assert layout.fingerprint != Layout.generic({"joint_pos": 3, "points": 4}, 3).fingerprint
    broken = {**layout.to_dict(), "action": []}
    with pytest.raises(LayoutError, match="expected a layout"):
        Layout.from_dict(broken)

"""What a robot passes to `act` is read, checked and compared with what it passed before."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.layout import Layout
from pipeline.obstacles import ObstacleError, box, cylinder, pad, sphere
from pipeline.runtime.deployment import DeploymentError
from pipeline.runtime.robot_observation import (
    MOVED_M,
    TURNED_RAD,
    ObservationReader,
    have_changed,
)

SEEN: dict[str, Any] = {
    "joint_pos": np.arange(6.0),
    "pen_pos": [0.4, 0.05, 0.2],
    "object_axis": [0.0, 0.0, 1.0],
}
BOX = box([0.4, 0.1, 0.2], [0.1, 0.2, 0.3])
TUBE = cylinder([0.3, -0.1, 0.2], 0.05, 0.4)


@pytest.fixture(scope="module")
def reader(layout: Layout) -> ObservationReader:
    return ObservationReader(layout, slots=3, control_hz=30.0)


def test_values_are_taken_by_name_or_kind_and_missing_ones_computed(
    reader: ObservationReader,
) -> None:
    read = reader.read(SEEN, before=SEEN["joint_pos"] - 0.1)
    np.testing.assert_allclose(read.state["joint_vel"], 3.0)
    np.testing.assert_array_equal(read.state["object_pos"], SEEN["pen_pos"])
    np.testing.assert_array_equal(reader.read(SEEN, None).state["joint_vel"], 0.0)


def test_obstacles_are_optional_rows_or_mappings(reader: ObservationReader) -> None:
    none = reader.read(SEEN, None)
    assert none.obstacles.shape == (0, 12)
    np.testing.assert_array_equal(none.visible, pad(none.obstacles, 3))
    tube = {"centre_m": [0.3, -0.1, 0.2], "radius_m": 0.05, "length_m": 0.4}
    for given in (np.stack([BOX, TUBE]), [BOX.tolist(), TUBE.tolist()]):
        read = reader.read({**SEEN, "obstacles": given}, None)
        np.testing.assert_array_equal(read.obstacles, [BOX, TUBE])
        np.testing.assert_array_equal(read.visible, pad(np.stack([BOX, TUBE]), 3))
    np.testing.assert_array_equal(
        reader.read({**SEEN, "obstacles": [tube]}, None).obstacles, [TUBE]
    )


def test_a_state_vector_may_be_followed_by_obstacles(
    reader: ObservationReader, layout: Layout
) -> None:
    state = np.arange(1.0, 26.0)
    assert reader.read(state, None).obstacles.shape == (0, 12)
    read = reader.read(np.concatenate([state, pad(BOX[None], 3).ravel()]), None)
    np.testing.assert_array_equal(read.obstacles, [BOX])
    np.testing.assert_array_equal(read.state["joint_pos"], state[:6])
    with pytest.raises(DeploymentError, match=r"shape \(37,\), expected \(25,\) or \(61,\)"):
        reader.read(np.zeros(37), None)
    blind = ObservationReader(layout, slots=0, control_hz=30.0)
    with pytest.raises(DeploymentError, match=r"shape \(61,\), expected \(25,\): "):
        blind.read(np.zeros(61), None)


def test_more_than_the_policy_can_see_is_refused_and_any_number_where_it_sees_none(
    reader: ObservationReader, layout: Layout
) -> None:
    many = {**SEEN, "obstacles": np.tile(BOX, (4, 1))}
    with pytest.raises(ObstacleError, match="4 obstacles; expected 3 at most"):
        reader.read(many, None)
    read = ObservationReader(layout, slots=0, control_hz=30.0).read(many, None)
    assert read.obstacles.shape == (4, 12)
    assert read.visible.shape == (0, 12)


@pytest.mark.parametrize(
    ("obstacles", "words"),
    [
        ([{"size_m": [1, 1, 1]}], "centre_m"),
        (np.zeros((1, 5)), r"shape \(1, 5\)"),
        (np.full((1, 12), np.nan), "finite"),
        (5, "expected rows"),
        ("a box", "expected rows"),
    ],
)
def test_malformed_obstacles_are_refused(
    reader: ObservationReader, obstacles: object, words: str
) -> None:
    with pytest.raises(ObstacleError, match=words):
        reader.read({**SEEN, "obstacles": obstacles}, None)


def _moved(row: np.ndarray, column: int, by: float) -> np.ndarray:
    changed = row.copy()
    changed[column] += by
    return changed


def _turned(row: np.ndarray, angle: float) -> np.ndarray:
    changed = row.copy()
    changed[3:7] = [np.sin(angle / 2), 0.0, 0.0, np.cos(angle / 2)]
    return changed


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_a_change_is_what_exceeds_the_tolerance(factor: float) -> None:
    before = np.stack([BOX, TUBE])
    for column in (0, 1, 2, 7, 10):
        now = np.stack([BOX, _moved(TUBE, column, factor * MOVED_M)])
        assert have_changed(before, now) == (factor > 1)
    assert have_changed(before, np.stack([_turned(BOX, factor * TURNED_RAD), TUBE])) == (factor > 1)


def test_order_and_the_quaternion_s_sign_are_no_change_but_one_more_or_less_is() -> None:
    before, none = np.stack([BOX, TUBE]), np.zeros((0, 12))
    mirrored = np.stack([TUBE, BOX])
    mirrored[:, 3:7] *= -1
    assert not have_changed(before, mirrored)
    assert not have_changed(none, none)
    for other in (none, before[:1], np.stack([BOX, TUBE, sphere([0.5, 0, 0], 0.1)])):
        assert have_changed(before, other)
        assert have_changed(other, before)

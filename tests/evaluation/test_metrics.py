"""Metrics against values worked out by hand and against scipy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from pipeline.evaluation import metrics
from pipeline.params import load_params

TASK = load_params(Path(__file__).parents[2] / "params.yaml").task
UP = np.array([0.0, 0.0, 1.0])


def _pose(position: list[float], rotation: Rotation) -> np.ndarray:
    return np.concatenate([position, rotation.as_quat()])


def test_a_gripper_at_the_cap_pointing_down_has_no_error() -> None:
    pose = _pose([0.1, 0.2, 0.3 + 0.06], Rotation.from_euler("xz", [180, 37], degrees=True))
    error = metrics.reach_error(pose, np.array([0.1, 0.2, 0.3]), UP, 0.12)
    assert error.cap_m == pytest.approx(0, abs=1e-12)
    assert error.axis_m == pytest.approx(0, abs=1e-12)
    assert error.angle_deg == pytest.approx(0, abs=1e-6)


def test_errors_are_split_along_and_across_the_axis() -> None:
    pose = _pose([0.003, 0, 0.06 + 0.004], Rotation.from_euler("x", 170, degrees=True))
    error = metrics.reach_error(pose, np.zeros(3), UP, 0.12)
    assert error.cap_m == pytest.approx(0.005)
    assert error.axis_m == pytest.approx(0.003)
    assert error.angle_deg == pytest.approx(10)


@given(st.integers(0, 2**32 - 1))
def test_axes_and_angles_agree_with_scipy(seed: int) -> None:
    first, second = Rotation.random(2, rng=np.random.default_rng(seed))
    pose = _pose([0, 0, 0], first)
    assert metrics.pose_z_axis(pose) == pytest.approx(first.as_matrix()[:, 2], abs=1e-12)
    angle = metrics.quaternion_angle_deg(first.as_quat(), -second.as_quat())
    assert angle == pytest.approx(np.degrees((first.inv() * second).magnitude()), abs=1e-9)


def test_angles_of_a_batch_are_those_of_its_pairs() -> None:
    pairs = Rotation.random(12, rng=np.random.default_rng(0)).as_quat().reshape(2, 3, 2, 4)
    expected = [[metrics.quaternion_angle_deg(*pair) for pair in row] for row in pairs]
    found = metrics.quaternion_angle_deg(pairs[:, :, 0], pairs[:, :, 1])
    assert found == pytest.approx(np.array(expected))


def test_objects_are_as_far_apart_as_they_are_moved_or_turned() -> None:
    here = metrics.object_key(np.zeros(3), UP, 0.12)
    others = metrics.object_key(np.array([[0.03, 0, 0], [0, 0, 0]]), np.eye(3)[[2, 0]], 0.12)
    assert np.linalg.norm(others - here, axis=-1) == pytest.approx([0.03, 0.12 * np.sqrt(2)])


def _errors(cap_m: list[list[float]], angle_deg: float = 0.0) -> metrics.ReachError:
    cap = np.array(cap_m)
    return metrics.ReachError(cap, np.zeros_like(cap), np.full_like(cap, angle_deg))


def test_success_must_hold_in_each_of_the_last_steps() -> None:
    steady = [0.02] * 5 + [0.004] * TASK.settle_steps
    passing = [0.02] * (TASK.settle_steps + 4) + [0.004]
    rough = [0.02] * 5 + [0.008] * TASK.settle_steps
    error = _errors([steady, passing, rough, steady])
    flags = metrics.success(error, np.array([False, False, False, True]), TASK)
    assert flags["team"].tolist() == [True, True, True, True]
    assert flags["strict"].tolist() == [True, False, True, True]
    assert flags["tight"].tolist() == [True, False, False, True]
    assert flags["collision_free"].tolist() == [True, False, True, False]
    tilted = metrics.success(_errors([steady], angle_deg=11.0), np.array([False]), TASK)
    assert not tilted["strict"].any()


def test_an_error_of_exactly_the_threshold_passes() -> None:
    strict, tight = (TASK.strict_m, TASK.strict_deg), (TASK.tight_m, TASK.tight_deg)
    for measure, (cap_m, angle_deg) in {"strict": strict, "tight": tight}.items():
        error = _errors([[cap_m] * TASK.settle_steps], angle_deg)
        assert metrics.success(error, np.zeros(1, bool), TASK)[measure].all()


def test_the_team_s_measure_is_that_of_the_last_step_alone() -> None:
    cap = np.array([[1.0, TASK.team_cap_m], [0.0, 1.0], [0.0, 0.0]])
    axis = np.array([[1.0, TASK.team_axis_m], [0.0, 0.0], [0.0, 1.0]])
    error = metrics.ReachError(cap, axis, np.full_like(cap, 90.0))
    assert metrics.success(error, np.zeros(3, bool), TASK)["team"].tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("successes", "trials", "interval"),
    # Newcombe 1998, table I, method 3, and the rule of three's neighbours.
    [(81, 263, (0.2553, 0.3662)), (15, 148, (0.0624, 0.1605)), (0, 20, (0.0, 0.1611)),
     (29, 29, (0.8830, 1.0))],
)  # fmt: skip
def test_the_interval_is_wilson_s(
    successes: int, trials: int, interval: tuple[float, float]
) -> None:
    assert metrics.wilson_interval(successes, trials) == pytest.approx(interval, abs=5e-5)
    passed = np.arange(trials) < successes
    assert metrics.share_interval(passed) == list(metrics.wilson_interval(successes, trials))


@pytest.mark.parametrize(("successes", "trials"), [(0, 0), (-1, 5), (6, 5)])
def test_an_invalid_proportion_is_rejected(successes: int, trials: int) -> None:
    with pytest.raises(ValueError, match=r"must be|must not be"):
        metrics.wilson_interval(successes, trials)


def test_chunk_errors_are_in_degrees_by_joint_and_by_step() -> None:
    expert = np.full((5, 2, 3), 0.5)
    predicted = expert.copy()
    predicted[:, 1, 2] += np.radians(3.0)
    errors = metrics.chunk_errors(predicted, expert)
    assert errors["per_joint"] == pytest.approx([0, 0, 3 / np.sqrt(2)])
    assert errors["per_step"] == pytest.approx([0, 3 / np.sqrt(3)])
    assert errors["total"] == pytest.approx(3 / np.sqrt(6))


def test_the_joint_that_is_furthest_away_counts_and_continuous_joints_wrap_around() -> None:
    start, here = np.array([0.1, 3.1]), np.array([[0.3, -3.1], [0.1, 3.0]])
    turns = 2 * np.pi - 6.2
    for continuous, expected in (([False, True], [0.2, 0.1]), ([False, False], [6.2, 0.1])):
        found = metrics.joint_distance(here, start, np.array(continuous))
        assert found == pytest.approx(expected)
        alone = metrics.joint_distance(here[0], start, np.array(continuous))
        assert alone == pytest.approx(expected[0])
    assert metrics.joint_distance(here[:1, 1:], start[1:], np.array([True])) == pytest.approx(turns)


def test_jerk_of_a_cubic_is_constant() -> None:
    time = np.arange(20) / 10.0
    assert metrics.root_mean_square_jerk((time**3)[:, None], 10.0) == pytest.approx(6.0)


def test_limit_violations_are_counted() -> None:
    commands = np.array([[0.0], [0.1], [2.0]])
    found = metrics.limit_violations(
        commands, np.array([-1.0]), np.array([1.0]), np.array([2.0]), rate_hz=10.0
    )
    assert found == {"position": 1, "velocity": 1}


def test_commands_at_the_limits_violate_none() -> None:
    one, commands = np.array([1.0]), np.array([[-1.0], [1.0], [-1.0]])
    found = metrics.limit_violations(commands, -one, one, 20 * one, rate_hz=10.0)
    assert found == {"position": 0, "velocity": 0}


def test_the_summary_has_the_contract_s_keys() -> None:
    summary = metrics.closed_loop_summary(_errors([[0.001] * 20] * 4), np.zeros(4, bool), TASK)
    assert summary["n"] == 4
    assert summary["success_team"] == summary["success_strict"] == summary["success_5mm"] == 1.0
    assert summary["ci95_strict"][0] == pytest.approx(0.51, abs=0.01)
    assert summary["error_mm_median"] == pytest.approx(1.0)
    assert summary["collisions"] == 0


def test_the_summary_gives_the_errors_of_the_last_step() -> None:
    error = _errors([[0.5, 0.5, final_m] for final_m in (0.001, 0.002, 0.006)], angle_deg=90.0)
    error.angle_deg[:, -1] = [8.0, 3.0, 4.0]
    summary = metrics.closed_loop_summary(error, np.zeros(3, bool), TASK)
    assert summary["error_mm_median"] == pytest.approx(2.0)
    assert summary["error_mm_p95"] == pytest.approx(5.6)
    assert summary["error_deg_median"] == pytest.approx(4.0)


def test_strict_and_free_of_contact_is_counted_with_its_interval() -> None:
    touched = np.arange(8) < 2
    reached = [[0.001] * 20] * 7 + [[0.5] * 20]
    summary = metrics.closed_loop_summary(_errors(reached), touched, TASK)
    assert summary["success_strict"] == 7 / 8
    assert summary["success_collision_free"] == 5 / 8
    assert summary["contact_free"] == 6 / 8
    assert summary["ci95_collision_free"] == list(metrics.wilson_interval(5, 8))
    assert summary["ci95_contact_free"] == list(metrics.wilson_interval(6, 8))

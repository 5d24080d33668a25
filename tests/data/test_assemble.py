"""A plan with its context becomes an episode, or the one reason why not."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from pipeline.data.assemble import assemble

PLAN_NS = 10_000_000_000


@pytest.fixture
def judge(source, arm, params):
    def judge(candidate, **rules):
        (verdict,) = assemble(candidate, source, arm, params.override("ingest", **rules).ingest)
        return verdict

    return judge


def codes(verdict):
    return [finding.code for finding in verdict.findings]


def test_a_good_plan_becomes_an_episode_that_knows_its_origin(judge, candidate, segment):
    verdict = judge(candidate())
    episode, plan = verdict.episode, segment()
    assert codes(verdict) == []
    np.testing.assert_array_equal(episode.t, plan.t)
    np.testing.assert_array_equal(episode.joint_pos, plan.joint_pos)
    np.testing.assert_array_equal(episode.joint_vel, plan.joint_vel)
    np.testing.assert_array_equal(episode.joint_command, plan.joint_pos)
    np.testing.assert_array_equal(episode.ee_pose[:, :3], plan.joint_pos[:, :3])
    np.testing.assert_array_equal(episode.object_pos, [0.4, 0.0, 0.2])
    np.testing.assert_array_equal(episode.object_axis, [0.0, 0.0, 1.0])
    origin = episode.provenance
    assert (origin.source, origin.message, origin.log_time_ns) == ("recordings/one", 4, PLAN_NS)
    assert origin.derived == ("pose by FK",)


def test_time_starts_with_the_first_point(judge, candidate, segment):
    episode = judge(candidate(segments=(segment(t=segment().t + 0.3),))).episode
    np.testing.assert_allclose(episode.t, segment().t, atol=1e-12)


def test_missing_velocities_are_derived_with_a_warning(judge, candidate, segment):
    verdict = judge(candidate(segments=(segment(joint_vel=None),)))
    assert codes(verdict) == ["VEL_DERIVED"]
    assert "velocity differentiated" in verdict.episode.provenance.derived


@given(st.integers(0, 2**32 - 1))
def test_the_object_s_axis_is_its_z(seed):
    from pipeline.data.assemble import _object
    from pipeline.data.recording import ObjectPose

    class Rules:
        object_max_age_s, object_frames, quaternion_tolerance = 5.0, ("base_link",), 0.01

    rotation = Rotation.random(rng=np.random.default_rng(seed))
    pose = ObjectPose(0, "/base_link", np.zeros(3), rotation.as_quat() * 1.005)
    _, axis = _object(pose, 0, Rules)
    np.testing.assert_allclose(axis, rotation.apply([0.0, 0.0, 1.0]), atol=1e-12)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"log_time_ns": PLAN_NS - 6 * 10**9}, "OBJECT_POSE_STALE"),
        ({"frame_id": "camera"}, "FRAME_UNRESOLVED"),
        ({"frame_id": ""}, "FRAME_UNRESOLVED"),
        ({"orientation": np.array([0.0, 0.0, 0.0, 0.9])}, "QUAT_NORM"),
        ({"orientation": np.zeros(4)}, "QUAT_NORM"),
        ({"position": np.array([0.0, np.nan, 0.0])}, "NONFINITE"),
    ],
)
def test_a_pose_that_cannot_be_used_rejects_the_plan(judge, candidate, changes, code):
    pose = replace(candidate().object_pose, **changes)
    verdict = judge(candidate(object_pose=pose))
    assert verdict.episode is None
    assert codes(verdict) == [code]


def test_a_plan_without_a_pose_is_rejected(judge, candidate):
    assert codes(judge(candidate(object_pose=None))) == ["OBJECT_POSE_MISSING"]


def test_frames_that_coincide_with_the_base_are_taken_when_named(judge, candidate):
    pose = replace(candidate().object_pose, frame_id="world")
    taken = judge(candidate(object_pose=pose), object_frames=["base_link", "world"])
    assert taken.episode is not None


def test_a_rejection_names_message_value_and_limit(judge, candidate, segment):
    verdict = judge(candidate(segments=(segment(t=np.zeros(13)),)))
    (finding,) = verdict.findings
    assert (finding.code, finding.source, finding.message, finding.segment) == (
        "TIME_ALL_ZERO",
        "recordings/one",
        4,
        0,
    )
    assert finding.value == "13 points at 0 s"


@pytest.mark.parametrize("state", ["planned", "measured"])
def test_an_execution_that_ends_elsewhere_is_rejected(judge, candidate, execution, state):
    failed = candidate(execution=execution(miss=-0.3))
    assert codes(judge(failed, state=state)) == ["EXECUTION_FAILED"]


def test_a_plan_that_was_never_executed_is_a_demonstration_only_as_planned(
    judge, candidate, execution
):
    still = execution()
    still = execution(joint_pos=np.zeros_like(still.joint_pos), final_pos=np.zeros(6))
    assert judge(candidate(execution=still)).episode is not None
    assert codes(judge(candidate(execution=still), state="measured")) == ["EXECUTION_FAILED"]
    assert codes(judge(candidate(), state="measured")) == ["EXECUTION_FAILED"]


def test_an_execution_cut_short_by_the_next_plan_says_nothing_of_the_plan(
    judge, candidate, execution
):
    assert judge(candidate(execution=execution(until_s=0.6))).episode is not None


def test_an_execution_begun_late_counts_by_its_end(judge, candidate, execution, segment):
    late = execution()
    late = execution(
        joint_pos=np.linspace(0, 0.5, len(late.t))[:, None] * segment().joint_pos[-1],
        final_pos=segment().joint_pos[-1],
    )
    assert judge(candidate(execution=late)).episode is not None


def test_measured_states_keep_the_plan_as_their_command(judge, candidate, execution, segment):
    verdict = judge(candidate(execution=execution()), state="measured")
    episode, plan = verdict.episode, segment()
    assert codes(verdict) == []
    np.testing.assert_array_equal(episode.joint_pos, execution().joint_pos)
    np.testing.assert_array_equal(episode.t, execution().t - execution().t[0])
    at = execution().t
    for joint in range(6):
        expected = np.interp(at, plan.t, plan.joint_pos[:, joint])
        np.testing.assert_allclose(episode.joint_command[:, joint], expected, atol=5e-3)
    np.testing.assert_array_equal(episode.joint_command[-1], plan.joint_pos[-1])


def test_measured_velocities_are_derived_where_none_were_recorded(judge, candidate, execution):
    none = execution(joint_vel=np.full_like(execution().joint_vel, np.nan))
    verdict = judge(candidate(execution=none), state="measured")
    assert codes(verdict) == ["VEL_DERIVED"]
    np.testing.assert_allclose(verdict.episode.joint_vel, execution().joint_vel, atol=0.05)


def test_measured_positions_must_be_finite(judge, candidate, execution):
    position = execution().joint_pos.copy()
    position[3, 3] = np.nan
    broken = candidate(execution=execution(joint_pos=position))
    assert codes(judge(broken, state="measured")) == ["NONFINITE"]

"""A plan with its context becomes an episode, or is rejected for one reason."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from pipeline.validation.build_batch import add_poses
from pipeline.validation.build_episode import build_drafts as draft

PLAN_NS = 10_000_000_000


def build_drafts(candidate, source, arm, rules):
    return add_poses(draft(candidate, source, arm, rules), arm)


@pytest.fixture
def validate(source, arm, params):
    def validate(candidate, **rules):
        (result,) = build_drafts(candidate, source, arm, params.override("ingest", **rules).ingest)
        return result

    return validate


def codes(result):
    return [finding.code for finding in result.findings]


def test_a_good_plan_becomes_an_episode_with_its_provenance(validate, candidate, segment):
    result = validate(candidate())
    episode, plan = result.episode, segment()
    assert codes(result) == []
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


def test_time_starts_with_the_first_point(validate, candidate, segment):
    episode = validate(candidate(segments=(segment(t=segment().t + 0.3),))).episode
    np.testing.assert_allclose(episode.t, segment().t, atol=1e-12)


def test_missing_velocities_are_derived_with_a_warning(validate, candidate, segment):
    result = validate(candidate(segments=(segment(joint_vel=None),)))
    assert codes(result) == ["VEL_DERIVED"]
    assert "velocity differentiated" in result.episode.provenance.derived


@given(st.integers(0, 2**32 - 1))
def test_the_object_s_axis_is_its_z(seed):
    from pipeline.recordings.recording import ObjectPose
    from pipeline.validation.build_episode import object_place

    class Rules:
        object_max_age_s, object_frames, quaternion_tolerance = 5.0, ("base_link",), 0.01

    rotation = Rotation.random(rng=np.random.default_rng(seed))
    pose = ObjectPose(0, "/base_link", np.zeros(3), rotation.as_quat() * 1.005)
    _, axis = object_place(pose, 0, Rules)
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
def test_a_pose_that_cannot_be_used_rejects_the_plan(validate, candidate, changes, code):
    pose = replace(candidate().object_pose, **changes)
    result = validate(candidate(object_pose=pose))
    assert result.episode is None
    assert codes(result) == [code]


def test_a_plan_without_a_pose_is_rejected(validate, candidate):
    assert codes(validate(candidate(object_pose=None))) == ["OBJECT_POSE_MISSING"]


def test_named_frames_that_coincide_with_the_base_are_accepted(validate, candidate):
    pose = replace(candidate().object_pose, frame_id="world")
    taken = validate(candidate(object_pose=pose), object_frames=["base_link", "world"])
    assert taken.episode is not None


def test_a_rejection_names_message_value_and_limit(validate, candidate, segment):
    result = validate(candidate(segments=(segment(t=np.zeros(13)),)))
    (finding,) = result.findings
    assert (finding.code, finding.source, finding.message, finding.segment) == (
        "TIME_ALL_ZERO",
        "recordings/one",
        4,
        0,
    )
    assert finding.value == "13 points at 0 s"


@pytest.fixture
def measured(candidate, segment):
    """Joints that were measured without a plan, at rest for five samples at each end."""

    def measured(**changes):
        whole = segment()
        position = np.concatenate(
            [whole.joint_pos[[0] * 5], whole.joint_pos, whole.joint_pos[[-1] * 5]]
        )
        still = segment(t=np.arange(23) * 0.1, joint_pos=position, joint_vel=position * 0)
        made = candidate(segments=(still,), derived=("times from the log",), **changes)
        return replace(made, plan=replace(made.plan, measured=True, sampled=True))

    return measured


@pytest.mark.parametrize("state", ["planned", "measured"])
def test_measured_joints_alone_are_accepted_with_warnings_and_without_idle_ends(
    validate, measured, segment, state
):
    result = validate(measured(), state=state)
    assert codes(result) == ["COMMAND_DERIVED", "TIME_DERIVED"]
    np.testing.assert_array_equal(result.episode.joint_pos, segment().joint_pos)
    np.testing.assert_array_equal(result.episode.joint_command, segment().joint_pos)
    np.testing.assert_allclose(result.episode.t, np.arange(13) * 0.1, atol=1e-12)
    assert "idle ends cut off" in result.episode.provenance.derived
    assert len(validate(measured(), trim_idle_rad=0.0).episode.t) == 23
    planned = measured()
    planned = replace(planned, plan=replace(planned.plan, measured=False, sampled=False))
    assert len(validate(planned).episode.t) == 23


def test_an_episode_of_a_damaged_recording_is_marked(candidate, source, arm, params):
    (result,) = build_drafts(candidate(), replace(source, salvaged=True), arm, params.ingest)
    assert codes(result) == ["SALVAGED"]
    assert result.episode.provenance.salvaged


def test_a_pose_that_holds_for_ever_is_never_stale(validate, candidate):
    old = replace(candidate().object_pose, log_time_ns=0)
    assert codes(validate(candidate(object_pose=old))) == ["OBJECT_POSE_STALE"]
    assert validate(candidate(object_pose=replace(old, ageless=True))).episode is not None


def test_parts_that_do_not_meet_are_validated_one_by_one(candidate, segment, source, arm, params):
    still = segment(joint_pos=np.full((13, 6), 0.3))
    rules = params.override("ingest", segment_gaps="split").ingest
    made = candidate(segments=(segment(), still, segment()))
    results = build_drafts(made, source, arm, rules)
    assert [result.episode is not None for result in results] == [True, False, True]
    assert results[1].findings[0].segment == 1
    assert results[2].episode.provenance.segment == 2

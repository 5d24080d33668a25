"""A plan with its context becomes an episode, or the one reason why not."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from pipeline.validation.build_batch import finish
from pipeline.validation.build_episode import assemble as draft

PLAN_NS = 10_000_000_000


def assemble(candidate, source, arm, rules):
    return finish(draft(candidate, source, arm, rules), arm)


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


def test_a_plan_executed_late_becomes_the_episode_as_it_was_planned(
    judge, candidate, execution, segment
):
    verdict = judge(candidate(execution=begun_late(execution, 0.5)))
    assert codes(verdict) == []
    np.testing.assert_array_equal(verdict.episode.joint_pos, segment().joint_pos)
    np.testing.assert_array_equal(verdict.episode.t, segment().t)


def begun_late(execution, delay_s, until_s=2.2):
    """Joints that follow the plan of `segment` from `delay_s` on, with a lag of 40 ms."""
    t = np.arange(0.004, until_s, 0.02)
    prompt = execution(until_s=until_s)
    position, velocity = (
        np.stack([np.interp(t - delay_s, prompt.t, joint) for joint in values.T], axis=1)
        for values in (prompt.joint_pos, prompt.joint_vel)
    )
    return execution(t=t, joint_pos=position, joint_vel=velocity, final_pos=position[-1])


@pytest.mark.parametrize("delay_s", [0.2, 0.5, 0.9])
def test_the_command_of_an_execution_begun_late_is_the_plan_moved_to_its_onset(
    judge, candidate, execution, delay_s
):
    verdict = judge(candidate(execution=begun_late(execution, delay_s)), state="measured")
    (finding,) = verdict.findings
    assert finding.code == "EXECUTION_DELAYED"
    assert float(finding.value.split()[0]) == pytest.approx(delay_s, abs=0.05)
    episode = verdict.episode
    lead = episode.joint_command - episode.joint_pos
    assert np.abs(lead).max() < 0.04  # 40 ms at 0.75 rad/s and the samples' spacing
    still = np.abs(np.diff(episode.joint_pos, axis=0)).max(axis=1) < 1e-6
    told = np.abs(np.diff(episode.joint_command, axis=0)).max(axis=1) > 1e-3
    assert (still & told).sum() <= 2
    assert episode.duration_s == pytest.approx(2.2 - delay_s, abs=0.07)


def test_an_execution_begun_early_counts_from_its_first_sample(judge, candidate, execution):
    verdict = judge(candidate(execution=begun_late(execution, -0.3)), state="measured")
    assert codes(verdict) == ["EXECUTION_DELAYED"]
    lead = verdict.episode.joint_command - verdict.episode.joint_pos
    assert np.abs(lead).max() < 0.04


def test_an_execution_that_does_not_follow_the_plan_is_rejected(judge, candidate, execution):
    """Half the speed, and another way to the same end."""
    slow = begun_late(execution, 0.0, until_s=3.0)
    slow = replace(slow, t=slow.t * 1.8)
    detour = execution()
    way = detour.joint_pos + 0.3 * np.sin(np.pi * np.clip(detour.t / 1.2, 0, 1))[:, None] ** 2
    for wrong in (slow, replace(detour, joint_pos=way)):
        verdict = judge(candidate(execution=wrong), state="measured")
        assert codes(verdict) == ["EXECUTION_FAILED"]
        assert "off the plan at best" in verdict.findings[0].value


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


@pytest.fixture
def measured(candidate, segment):
    """Joints that were measured and never planned, with idle ends of five samples."""

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
def test_measured_joints_alone_are_taken_with_reserve_and_without_idle_ends(
    judge, measured, segment, state
):
    verdict = judge(measured(), state=state)
    assert codes(verdict) == ["COMMAND_DERIVED", "TIME_DERIVED"]
    np.testing.assert_array_equal(verdict.episode.joint_pos, segment().joint_pos)
    np.testing.assert_array_equal(verdict.episode.joint_command, segment().joint_pos)
    np.testing.assert_allclose(verdict.episode.t, np.arange(13) * 0.1, atol=1e-12)
    assert "idle ends cut off" in verdict.episode.provenance.derived
    assert len(judge(measured(), trim_idle_rad=0.0).episode.t) == 23
    planned = measured()
    planned = replace(planned, plan=replace(planned.plan, measured=False, sampled=False))
    assert len(judge(planned).episode.t) == 23


def test_an_episode_of_a_damaged_recording_is_marked(candidate, source, arm, params):
    (verdict,) = assemble(candidate(), replace(source, salvaged=True), arm, params.ingest)
    assert codes(verdict) == ["SALVAGED"]
    assert verdict.episode.provenance.salvaged


def test_a_pose_that_holds_for_ever_is_never_stale(judge, candidate):
    old = replace(candidate().object_pose, log_time_ns=0)
    assert codes(judge(candidate(object_pose=old))) == ["OBJECT_POSE_STALE"]
    assert judge(candidate(object_pose=replace(old, ageless=True))).episode is not None


def test_parts_that_do_not_meet_are_judged_one_by_one(candidate, segment, source, arm, params):
    still = segment(joint_pos=np.full((13, 6), 0.3))
    rules = params.override("ingest", segment_gaps="split").ingest
    made = candidate(segments=(segment(), still, segment()))
    verdicts = assemble(made, source, arm, rules)
    assert [verdict.episode is not None for verdict in verdicts] == [True, False, True]
    assert verdicts[1].findings[0].segment == 1
    assert verdicts[2].episode.provenance.segment == 2


def test_an_execution_counts_turns_of_a_continuous_joint_as_the_plan_does(
    candidate, execution, source, arm, params
):
    endless = replace(arm, continuous=np.arange(6) == 5)
    ran = execution()
    turned = ran.joint_pos.copy()
    turned[:, 5] += 2 * np.pi * (np.arange(len(ran.t)) % 2) + 4 * np.pi
    final = turned[-1]
    made = candidate(execution=execution(joint_pos=turned, final_pos=final))
    rules = params.override("ingest", state="measured").ingest
    (verdict,) = assemble(made, source, endless, rules)
    np.testing.assert_allclose(verdict.episode.joint_pos, ran.joint_pos, atol=1e-9)
    (verdict,) = assemble(made, source, arm, rules)
    assert codes(verdict) == ["EXECUTION_FAILED"]

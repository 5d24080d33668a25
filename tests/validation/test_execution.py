"""A plan and the joints measured meanwhile: success, onset, and the motion that was executed."""

import re
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest

from pipeline.recordings.recording import Execution
from pipeline.validation.build_batch import add_poses
from pipeline.validation.build_episode import build_drafts as draft
from pipeline.validation.execution import check_execution, estimate_onset, executed_motion
from pipeline.validation.rules import Motion, Rejected
from tests.fixtures.recordings import path


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


@pytest.mark.parametrize("state", ["planned", "measured"])
def test_an_execution_that_ends_elsewhere_is_rejected(validate, candidate, execution, state):
    failed = candidate(execution=execution(miss=-0.3))
    (finding,) = validate(failed, state=state).findings
    assert (finding.code, finding.value) == ("EXECUTION_FAILED", "ended 0.1800 rad away")


def test_a_plan_that_was_not_executed_is_accepted_only_as_planned(validate, candidate, execution):
    still = execution()
    still = execution(joint_pos=np.zeros_like(still.joint_pos), final_pos=np.zeros(6))
    assert validate(candidate(execution=still)).episode is not None
    for ran, says in ((still, "ended 0.6000 rad away"), (None, "0 joint states")):
        (finding,) = validate(candidate(execution=ran), state="measured").findings
        assert (finding.code, finding.value) == ("EXECUTION_FAILED", says)


def one_joint(t, path):
    return Motion(np.array(t), np.array(path)[:, None], None, 0, ("turn",))


def measured(t, path):
    position = np.array(path)[:, None]
    return Execution(np.array(t), position, np.full_like(position, np.nan), position[-1])


def test_an_execution_moved_and_ended_elsewhere_from_exactly_its_limits_on(params):
    rules = params.override("ingest", min_motion_rad=0.5, execution_tolerance_rad=1.0).ingest
    plan = one_joint([0.0, 0.5, 1.0], [0.0, 0.5, 2.0])
    # From 0 the joint hardly moved, ended elsewhere, or came near enough to the goal.
    for end, failed in ((0.25, False), (0.5, True), (0.75, True), (1.0, False), (2.0, False)):
        said = rf"ended {2 - end:.4f} rad away, expected 1\.0 rad"
        with pytest.raises(Rejected, match=said) if failed else nullcontext():
            check_execution(plan, measured([0.0, 0.5, 1.5], [0.0, 0.0, end]), rules)


def test_an_execution_exactly_as_far_off_its_plan_as_tolerated_is_accepted(params):
    t = np.arange(0.0, 2.0, 0.02)
    s = np.clip(t, 0.0, 1.0)
    plan, detour = one_joint(t, s), measured(t, s + 0.2 * np.sin(np.pi * s))
    miss_rad = estimate_onset(plan, detour).miss_rad
    for tolerance_rad, failed in ((miss_rad, False), (np.nextafter(miss_rad, 0.0), True)):
        rules = params.override("ingest", execution_tolerance_rad=float(tolerance_rad)).ingest
        with pytest.raises(Rejected, match="off the plan at best") if failed else nullcontext():
            executed_motion(plan, detour, rules, same_clock=False)


def test_a_plan_that_starts_at_full_speed_fits_an_execution_with_a_servos_lag():
    def servo(t):  # a first-order lag behind a ramp of 2 rad/s
        return 2 * np.where(t > 0, t - 0.1 * (1 - np.exp(-t.clip(0.0) / 0.1)), 0.0)

    t = np.arange(0.0, 3.0, 0.02)
    ran = measured(t, servo(t - 0.3) - servo(t - 1.3))
    onset = estimate_onset(one_joint([0.0, 0.5, 1.0], [0.0, 1.0, 2.0]), ran)
    assert onset.delay_s == pytest.approx(0.3, abs=0.01)
    assert onset.miss_rad < 0.002


def test_a_motion_to_and_fro_is_not_fitted_a_period_early():
    t = np.arange(0.0, 5.0, 0.02)
    waves = [1 - np.cos(2 * np.pi * np.clip(at, 0.0, 1.8) / 0.6) for at in (t, t - 0.3)]
    onset = estimate_onset(one_joint(t, waves[0]), measured(t, waves[1]))
    assert onset.delay_s == pytest.approx(0.3, abs=0.02)
    assert onset.miss_rad < 0.05


def test_an_execution_cut_short_by_the_next_plan_does_not_reject_the_plan(
    validate, candidate, execution
):
    assert validate(candidate(execution=execution(until_s=0.6))).episode is not None


def test_a_plan_executed_late_becomes_the_episode_as_it_was_planned(
    validate, candidate, execution, segment
):
    result = validate(candidate(execution=begun_late(execution, 0.5)))
    assert codes(result) == []
    np.testing.assert_array_equal(result.episode.joint_pos, segment().joint_pos)
    np.testing.assert_array_equal(result.episode.t, segment().t)


def begun_late(execution, delay_s, until_s=2.2):
    """Joints that follow the plan of `segment` from `delay_s` on, with a lag of 40 ms."""
    t = np.arange(0.004, until_s, 0.02)
    prompt = execution(until_s=3.0)
    position, velocity = (
        np.stack([np.interp(t - delay_s, prompt.t, joint) for joint in values.T], axis=1)
        for values in (prompt.joint_pos, prompt.joint_vel)
    )
    return execution(t=t, joint_pos=position, joint_vel=velocity, final_pos=position[-1])


@pytest.mark.parametrize("delay_s", [0.2, 0.5, 0.9])
def test_the_command_of_an_execution_begun_late_is_the_plan_moved_to_its_onset(
    validate, candidate, execution, delay_s
):
    result = validate(candidate(execution=begun_late(execution, delay_s)), state="measured")
    (finding,) = result.findings
    assert finding.code == "EXECUTION_DELAYED"
    assert float(finding.value.split()[0]) == pytest.approx(delay_s, abs=0.05)
    episode = result.episode
    lead = episode.joint_command - episode.joint_pos
    assert np.abs(lead).max() < 0.04  # 40 ms at 0.75 rad/s and the samples' spacing
    still = np.abs(np.diff(episode.joint_pos, axis=0)).max(axis=1) < 1e-6
    told = np.abs(np.diff(episode.joint_command, axis=0)).max(axis=1) > 1e-3
    assert (still & told).sum() <= 2
    assert episode.duration_s == pytest.approx(2.2 - delay_s, abs=0.07)


@pytest.mark.parametrize(("delay_s", "until_s"), [(-0.3, 2.2), (-0.5, 0.75)])
def test_an_execution_begun_early_counts_from_its_first_sample(
    validate, candidate, execution, delay_s, until_s
):
    early = begun_late(execution, delay_s, until_s)
    result = validate(candidate(execution=early), state="measured")
    assert codes(result) == ["EXECUTION_DELAYED"]
    lead = result.episode.joint_command - result.episode.joint_pos
    assert np.abs(lead).max() < 0.04


def test_an_execution_that_does_not_follow_the_plan_is_rejected(validate, candidate, execution):
    """Half the speed, and another way to the same end."""
    slow = begun_late(execution, 0.0, until_s=3.0)
    slow = replace(slow, t=slow.t * 1.8)
    detour = execution()
    way = detour.joint_pos + 0.3 * np.sin(np.pi * np.clip(detour.t / 1.2, 0, 1))[:, None] ** 2
    for wrong in (slow, replace(detour, joint_pos=way)):
        result = validate(candidate(execution=wrong), state="measured")
        assert codes(result) == ["EXECUTION_FAILED"]
        assert re.fullmatch(
            r"0\.\d{4} rad off the plan at best, if it began -?\d\.\d{3} s after it",
            result.findings[0].value,
        )
        assert result.findings[0].limit == "0.05 rad"


def test_an_execution_that_began_long_before_the_plan_is_none_of_it(validate, candidate, execution):
    result = validate(candidate(execution=begun_late(execution, -0.9)), state="measured")
    assert codes(result) == ["EXECUTION_FAILED"]


def test_too_few_samples_after_the_onset_are_rejected(validate, candidate, execution, segment):
    t = np.linspace(0.0, 1.2, 121)
    position, velocity = path(t)
    plan = segment(t=t, joint_pos=position, joint_vel=velocity)
    late = begun_late(execution, 0.5)
    for points, failed in ((80, False), (100, True)):
        result = validate(
            candidate(segments=(plan,), execution=late), state="measured", min_points=points
        )
        assert codes(result) == ["EXECUTION_FAILED" if failed else "EXECUTION_DELAYED"]
    assert re.fullmatch(r"8\d joint states", result.findings[0].value)
    assert result.findings[0].limit == "100 during the plan"


def test_measured_states_keep_the_plan_as_their_command(validate, candidate, execution, segment):
    result = validate(candidate(execution=execution()), state="measured")
    episode, plan = result.episode, segment()
    assert codes(result) == []
    np.testing.assert_array_equal(episode.joint_pos, execution().joint_pos)
    np.testing.assert_array_equal(episode.t, execution().t - execution().t[0])
    at = execution().t
    for joint in range(6):
        expected = np.interp(at, plan.t, plan.joint_pos[:, joint])
        np.testing.assert_allclose(episode.joint_command[:, joint], expected, atol=5e-3)
    np.testing.assert_array_equal(episode.joint_command[-1], plan.joint_pos[-1])


def test_measured_velocities_are_derived_where_none_were_recorded(validate, candidate, execution):
    none = execution(joint_vel=np.full_like(execution().joint_vel, np.nan))
    result = validate(candidate(execution=none), state="measured")
    assert codes(result) == ["VEL_DERIVED"]
    np.testing.assert_allclose(result.episode.joint_vel, execution().joint_vel, atol=0.05)


def test_measured_positions_must_be_finite(validate, candidate, execution):
    position = execution().joint_pos.copy()
    position[3, 3] = np.nan
    broken = candidate(execution=execution(joint_pos=position))
    (finding,) = validate(broken, state="measured").findings
    assert (finding.code, finding.value) == ("NONFINITE", "a measured joint position")


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
    (result,) = build_drafts(made, source, endless, rules)
    np.testing.assert_allclose(result.episode.joint_pos, ran.joint_pos, atol=1e-9)
    (result,) = build_drafts(made, source, arm, rules)
    assert codes(result) == ["EXECUTION_FAILED"]

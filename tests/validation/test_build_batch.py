"""Many plans at once get the verdicts that each gets alone."""

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.validation import build_batch
from pipeline.validation.build_batch import finish, judge, judge_batch
from pipeline.validation.build_episode import Draft, Verdict, assemble
from pipeline.validation.findings import Finding

BENDS = {
    "good": lambda s: s,
    "other order": lambda s: replace(
        s, joint_names=s.joint_names[::-1], joint_pos=s.joint_pos[:, ::-1],
        joint_vel=s.joint_vel[:, ::-1],
    ),
    "late": lambda s: replace(s, t=s.t + 0.5),
    "another joint": lambda s: replace(
        s, joint_names=("finger", *s.joint_names),
        joint_pos=np.insert(s.joint_pos, 0, 9.0, axis=1),
        joint_vel=np.insert(s.joint_vel, 0, np.nan, axis=1),
    ),
    "no velocity": lambda s: replace(s, joint_vel=None),
    "nan velocity": lambda s: replace(s, joint_vel=s.joint_vel * np.nan),
    "wrong velocity": lambda s: replace(s, joint_vel=s.joint_vel + 1),
    "no time": lambda s: replace(s, t=s.t * 0),
    "time back": lambda s: replace(s, t=s.t[::-1]),
    "infinite": lambda s: replace(s, joint_pos=np.where(s.joint_pos > 0.2, np.inf, s.joint_pos)),
    "twice": lambda s: replace(
        s, t=np.repeat(s.t, 2), joint_pos=np.repeat(s.joint_pos, 2, axis=0),
        joint_vel=np.repeat(s.joint_vel, 2, axis=0),
    ),
    "beyond": lambda s: replace(s, joint_pos=s.joint_pos * 8, joint_vel=s.joint_vel * 8),
    "still": lambda s: replace(s, joint_pos=s.joint_pos * 1e-4, joint_vel=s.joint_vel * 1e-4),
    "jump": lambda s: replace(s, joint_pos=s.joint_pos + 3.1 * (s.t > 0.5)[:, None]),
    "short": lambda s: replace(
        s, t=s.t[:2], joint_pos=s.joint_pos[:2], joint_vel=s.joint_vel[:2]
    ),
    "one": lambda s: replace(s, t=s.t[:1], joint_pos=s.joint_pos[:1], joint_vel=s.joint_vel[:1]),
    "empty": lambda s: replace(s, t=s.t[:0], joint_pos=s.joint_pos[:0], joint_vel=s.joint_vel[:0]),
    "missing": lambda s: replace(s, joint_names=("x", *s.joint_names[1:])),
    "multi": lambda s: replace(s, multi_dof=True),
}  # fmt: skip
CONTEXTS = ("plain", "executed", "missed", "old pose", "no pose", "measured", "two segments")
OTHER = Verdict(None, (Finding("DECODE_ERROR", "recordings/one", 3, None, "x", "y"),))


def bent(name, context, candidate, segment, execution):
    segments = (BENDS[name](segment()),) * (2 if context == "two segments" else 1)
    made = candidate(segments=segments)
    if context in {"executed", "missed"}:
        made = replace(made, execution=execution(miss=0.3 if context == "missed" else 0.0))
    if context == "no pose":
        made = replace(made, object_pose=None)
    if context == "old pose":
        made = replace(made, object_pose=replace(made.object_pose, log_time_ns=0))
    if context == "measured":
        made = replace(made, plan=replace(made.plan, measured=True, sampled=True))
    return made


def same(ones, others):
    assert len(ones) == len(others)
    for one, other in zip(ones, others, strict=True):
        assert one.findings == other.findings
        assert (one.episode is None) == (other.episode is None)
        if one.episode is not None:
            for field in fields(one.episode):
                left, right = getattr(one.episode, field.name), getattr(other.episode, field.name)
                np.testing.assert_array_equal(left, right)


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(
    kinds=st.lists(st.tuples(st.sampled_from([*BENDS]), st.sampled_from(CONTEXTS)), max_size=7),
    endless=st.booleans(),
    rules=st.sampled_from([{}, {"state": "measured"}, {"min_points": 14}, {"salvaged": True}]),
)
def test_verdicts_of_a_batch_are_those_of_each_plan_alone(
    kinds, endless, rules, source, arm, params, candidate, segment, execution
):
    rules = dict(rules)
    source = replace(source, salvaged=rules.pop("salvaged", False))
    chosen = params.override("ingest", **rules).ingest
    arm = replace(arm, continuous=np.arange(6) == 5) if endless else arm
    plans = [bent(*kind, candidate, segment, execution) for kind in kinds]
    alone = [OTHER]
    for plan in plans:
        alone += finish(assemble(plan, source, arm, chosen), arm)
    same(judge_batch([OTHER, *plans], source, arm, chosen), alone)


@pytest.mark.parametrize("name", ["good", "other order", "late", "another joint"])
def test_clean_plans_do_not_take_the_long_way(
    name, monkeypatch, source, arm, params, candidate, segment
):
    monkeypatch.setattr(build_batch, "assemble", None)
    rules = params.ingest.model_copy(update={"velocity_tolerance_rad_s": 9.0})
    made = candidate(segments=(BENDS[name](segment()),))
    if name == "another joint":  # its own velocity is NaN, the arm's are not
        assert np.isnan(made.plan.segments[0].joint_vel).any()
    (verdict,) = judge_batch([made], source, arm, rules)
    assert verdict.episode is not None and verdict.findings == ()


def test_batches_keep_the_order_and_stay_small(source, arm, params, candidate):
    rules = params.ingest
    plans = [candidate() for _ in range(1000)]
    batches = list(judge(plans, source, arm, rules))
    assert sum(len(part) for part in batches) == 1000
    assert max(len(part) for part in batches) <= build_batch.BATCH_POINTS / 13
    assert list(judge([], source, arm, rules)) == []


def test_poses_of_one_episode_do_not_depend_on_another(source, arm, params, candidate, segment):
    turning = replace(
        arm, fk=lambda q: np.concatenate(
            [q[:, :3], np.zeros((len(q), 2)), np.sin(7 * q[:, :1]), np.cos(7 * q[:, :1])], axis=1
        )
    )  # fmt: skip
    (draft,) = assemble(candidate(), source, turning, params.ingest)
    assert isinstance(draft, Draft)
    both = finish([draft, OTHER, replace(draft, joint_pos=-draft.joint_pos)], turning)
    assert both[1] is OTHER
    for verdict, sign in zip((both[0], both[2]), (1, -1), strict=True):
        quaternion = verdict.episode.ee_pose[:, 3:]
        assert (np.sum(quaternion[1:] * quaternion[:-1], axis=1) > 0).all()
        np.testing.assert_array_equal(quaternion[0], turning.fk(sign * draft.joint_pos)[0, 3:])

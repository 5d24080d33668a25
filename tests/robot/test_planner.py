from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.params import Params, load_params
from pipeline.processes import in_processes
from pipeline.robot.arrangement import sample_object
from pipeline.robot.collision import CollisionChecker
from pipeline.robot.planner import Planner, Scene, seed_planning

Array = NDArray[np.float64]
UP = np.array([0.0, 0.0, 1.0])


@pytest.fixture(scope="module")
def planner(params: Params) -> Planner:
    return Planner(params.robot, params.task, params.collect)


@given(st.integers(0, 2**32))
def test_objects_lie_where_the_task_says(params: Params, seed: int) -> None:
    task = params.task
    position, axis = sample_object(task, np.random.default_rng(seed))
    cap = position + axis * task.object_length_m / 2
    assert (cap >= np.array(task.cap_min_m) - 1e-12).all()
    assert (cap <= np.array(task.cap_max_m) + 1e-12).all()
    assert np.linalg.norm(axis) == pytest.approx(1.0)
    assert axis[2] >= np.cos(np.radians(task.tilt_max_deg)) - 1e-12


@pytest.mark.parametrize("ik", ["nearest", "random"])
def test_plans_lead_from_home_to_the_grasp(params: Params, ik: str) -> None:
    planner = Planner(params.robot, params.task, params.override("collect", ik=ik).collect)
    rng = np.random.default_rng(3)
    model, planned = planner.model, 0
    for _ in range(8):
        position, axis = sample_object(params.task, rng)
        plan = planner.plan(position, axis, rng)
        assert (plan is None) == (planner.reason is not None)
        if plan is None:
            continue
        planned += 1
        assert plan.joint_pos[0] == pytest.approx(model.home)
        goal = model.tcp(plan.joint_pos[-1])
        cap = position + axis * params.task.object_length_m / 2
        assert goal.translation == pytest.approx(cap, abs=1e-5)
        assert goal.rotation[:, 2] == pytest.approx(-axis, abs=1e-5)
        assert (np.abs(plan.joint_vel) <= model.velocity_limits * 1.000001).all()
        assert (np.abs(plan.joint_acc) <= model.acceleration_limits * 1.000001).all()
        motion = plan.sample(np.linspace(0, plan.duration_s, 200))
        assert (motion >= model.lower).all()
        assert (motion <= model.upper).all()
        assert not planner.checker.colliding(motion, position, axis).any()
    assert planned >= 5


def _pen_in_the_way(planner: Planner) -> tuple[Array, Array]:
    """A low pen that leans towards the arm: the straight line in joint space passes through it."""
    axis = np.array([-0.19, -0.55, 0.82])
    axis /= np.linalg.norm(axis)
    cap = planner.model.tcp(planner.model.home).translation + np.array([-0.1, 0.01, -0.22])
    return cap - axis * 0.1207 / 2, axis


def test_the_plan_avoids_a_pen_in_the_way(planner: Planner) -> None:
    rng = np.random.default_rng(0)
    position, axis = _pen_in_the_way(planner)
    plan = planner.plan(position, axis, rng)
    assert plan is not None, planner.reason
    home, goal = plan.joint_pos[0], plan.joint_pos[-1]
    line = home + np.linspace(0, 1, 200)[:, None] * (goal - home)
    assert planner.checker.colliding(line, position, axis).any()
    motion = plan.sample(np.linspace(0, plan.duration_s, 400))
    assert not planner.checker.colliding(motion, position, axis).any()


def test_failures_give_their_reason(planner: Planner) -> None:
    rng = np.random.default_rng(0)
    assert planner.plan(np.array([2.0, 0.0, 0.3]), UP, rng) is None
    assert planner.reason == "unreachable"
    palm = planner.model.tcp(planner.model.home).translation
    assert planner.plan(palm, UP, rng) is None
    assert planner.reason == "start in collision"
    # Pointing up from the table, the pen can be grasped from below only.
    assert planner.plan(np.array([0.45, 0.0, 0.07]), -UP, rng) is None
    assert planner.reason in {"unreachable", "goal in collision"}


def test_effort_is_bounded_by_checks(params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    collect = params.override("collect", planning_checks=500).collect
    planner = Planner(params.robot, params.task, collect)
    calls = 0

    def walled_off(joint_pos: Array, object_pos: Array, object_axis: Array) -> bool:
        nonlocal calls
        calls += 1
        return bool(0.05 < joint_pos[0] < 0.3)  # wider than a step of the search

    monkeypatch.setattr(planner.checker, "collides", walled_off)
    rng = np.random.default_rng(1)
    assert planner.plan(np.array([0.4, 0.15, 0.3]), UP, rng) is None
    assert planner.reason == "no path found"
    assert 500 < calls < 1500


@pytest.mark.parametrize("ik", ["nearest", "random"])
def test_a_joint_that_turns_without_end_is_planned_for(
    params: Params, ik: str, tmp_path: Path
) -> None:
    """Goals are equivalent angles within half a turn of home, inside the planner's bounds."""
    urdf = tmp_path / "endless.urdf"
    text = params.robot.urdf.read_text()
    endless = re.sub(
        r'name="joint_([16])" type="revolute"', r'name="joint_\1" type="continuous"', text
    )
    urdf.write_text(endless)
    home = np.add(params.robot.home_rad, [4.0, 0, 0, 0, 0, -5.0])
    robot = params.override("robot", urdf=urdf, home_rad=tuple(home)).robot
    planner = Planner(robot, params.task, params.override("collect", ik=ik).collect)
    assert planner.model.continuous.tolist() == [True, False, False, False, False, True]
    rng = np.random.default_rng(3)
    plans = [planner.plan(*sample_object(params.task, rng), rng) for _ in range(5)]
    ends = np.array([plan.joint_pos[-1] for plan in plans if plan is not None])
    assert len(ends) >= 3
    assert np.abs(ends[:, [0, 5]] - home[[0, 5]]).max() <= np.pi


def test_a_goal_beyond_the_bounds_ends_the_search(params: Params) -> None:
    """Such a goal is rejected without a collision check, so the checks alone never end it."""
    # The search sleeps a few milliseconds before each question whether it is over.
    collect = params.override("collect", planning_checks=200).collect
    planner = Planner(params.robot, params.task, collect)
    beyond = np.add(params.robot.home_rad, [4.0, 0, 0, 0, 0, 0])
    scene = Scene(planner.checker, np.array([0.4, 0.0, 0.3]), UP)
    assert planner._find_path((planner.model.home, beyond), scene, 0.01) is None


def _first_path(shard: int) -> Array:
    loaded = load_params(Path("params.yaml"))
    seed_planning(shard // 2)
    planner = Planner(
        loaded.robot, loaded.task, loaded.override("collect", collision_resolution=0.003).collect
    )
    plan = planner.plan(*_pen_in_the_way(planner), np.random.default_rng(0))
    return np.zeros(0) if plan is None else plan.joint_pos


def test_a_seed_gives_the_same_plan_in_every_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    with closing(in_processes(_first_path, 2, [])) as shards:
        zero, zero_again, one = (next(shards) for _ in range(3))
    assert len(zero) > 0
    assert np.array_equal(zero, zero_again)
    assert not np.array_equal(zero, one)


def test_plans_avoid_the_bar_of_the_obstacle_scene(params: Params) -> None:
    """Most pens are within reach there, but few straight lines in joint space are free."""
    task = params.override("task", scene="bar").task
    planner = Planner(params.robot, task, params.collect)
    # Boxes without clearance: between two checks a plan may enter the clearance.
    boxes = CollisionChecker(params.robot, task)
    rng, model = np.random.default_rng(2), planner.model
    reachable = planned = bent = 0
    for _ in range(10):
        where = sample_object(params.task, rng)
        plan = planner.plan(*where, rng)
        reachable += planner.reason != "unreachable"
        if plan is None:
            continue
        planned += 1
        motion = plan.sample(np.linspace(0, plan.duration_s, 200))
        assert not boxes.colliding(motion, *where).any()
        line = model.home + np.linspace(0, 1, 100)[:, None] * (motion[-1] - model.home)
        bent += planner.checker.colliding(line, *where).any()
    assert planned >= 0.6 * reachable
    assert bent >= 0.8 * planned


def _lengths(shard: int) -> list[float]:
    """Lengths of eight paths round the bar, with one attempt each or with four."""
    loaded = load_params(Path("params.yaml"))
    seed_planning(0)
    task = loaded.override("task", scene="bar").task
    collect = loaded.override("collect", planning_attempts=(1, 4)[shard % 2]).collect
    planner = Planner(loaded.robot, task, collect)
    rng = np.random.default_rng(11)
    objects = [sample_object(task, np.random.default_rng(seed)) for seed in range(8)]
    plans = [planner.plan(*where, rng) for where in objects]
    return [
        float(np.linalg.norm(np.diff(plan.joint_pos, axis=0), axis=1).sum())
        for plan in plans
        if plan is not None
    ]


def test_more_attempts_give_shorter_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    # In processes of their own, since the planner's numbers depend on what ran before.
    monkeypatch.chdir(Path(__file__).parents[2])
    with closing(in_processes(_lengths, 2, [])) as shards:
        one, four = next(shards), next(shards)
    assert len(four) >= len(one) >= 4
    assert np.mean(four) < np.mean(one)


def test_a_plan_starts_where_the_arm_stands(params: Params) -> None:
    planner = Planner(params.robot, params.task, params.collect)
    rng = np.random.default_rng(4)
    where = np.array([0.4, 0.0, 0.2]), UP
    start = planner.model.home + 0.2
    plan = planner.plan(*where, rng, start)
    assert plan is not None
    assert plan.joint_pos[0] == pytest.approx(start)
    home = planner.plan(*where, rng)
    assert home is not None
    assert home.joint_pos[-1] == pytest.approx(plan.joint_pos[-1]), "the goal is the same"


def test_optimised_plans_keep_further_away(params: Params) -> None:
    bar = params.override("task", scene="bar")
    checks = params.override("collect", planning_checks=3000)
    plain = Planner(bar.robot, bar.task, checks.collect)
    smooth = Planner(
        bar.robot, bar.task, checks.override("collect", optimise_clearance_m=0.05).collect
    )
    gained = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        position, axis = sample_object(bar.task, rng)
        plans = [planner.plan(position, axis, rng) for planner in (plain, smooth)]
        if None in plans:
            continue
        motions = [plan.sample(np.linspace(0, plan.duration_s, 100)) for plan in plans if plan]
        assert not smooth.checker.colliding(motions[1], position, axis).any()
        gained.append(smooth.checker.clearance(motions[1]) - plain.checker.clearance(motions[0]))
    assert len(gained) >= 2
    assert np.mean(gained) > 0

from __future__ import annotations

import coal
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.obstacles import box, cylinder, distances, sphere
from pipeline.params import Params, ParamsError
from pipeline.robot.arrangement import (
    collision_shape,
    draw_arrangement,
    sample_object,
    scene_obstacles,
)
from pipeline.robot.collision import CollisionChecker
from pipeline.robot.planner import Planner

UP, AWAY = np.array([0.0, 0.0, 1.0]), np.array([0.4, 0.4, 0.3])


@pytest.fixture(scope="module")
def arranged(params: Params) -> Params:
    arrangement = {**params.task.arrangement.model_dump(), "number": (2, 5)}
    return params.override("task", arrangement=arrangement)


@given(st.integers(0, 2**32))
def test_boxes_are_drawn_as_the_parameters_say(arranged: Params, seed: int) -> None:
    drawn = arranged.task.arrangement
    rows = draw_arrangement(arranged.task, np.random.default_rng(seed), lambda _: True)
    assert 2 <= len(rows) <= 5
    assert (rows[:, :3] >= drawn.region_min_m).all()
    assert (rows[:, :3] <= drawn.region_max_m).all()
    assert (2 * rows[:, 7:10] >= np.array(drawn.size_min_m) - 1e-12).all()
    assert (2 * rows[:, 7:10] <= np.array(drawn.size_max_m) + 1e-12).all()
    assert rows[:, 3:5] == pytest.approx(0.0)
    assert not rows[:, 10:].any()


def test_a_box_that_may_stand_nowhere_is_left_out(arranged: Params) -> None:
    rng = np.random.default_rng(0)
    assert draw_arrangement(arranged.task, rng, lambda _: False).shape == (0, 12)


def test_shapes_grow_by_the_clearance() -> None:
    grown = collision_shape(box(UP, [0.1, 0.2, 0.3]), 0.02)
    assert isinstance(grown, coal.Box)
    assert grown.halfSide == pytest.approx([0.07, 0.12, 0.17])
    tube = collision_shape(cylinder(UP, 0.1, 0.4), 0.02)
    assert isinstance(tube, coal.Cylinder)
    assert (tube.radius, tube.halfLength) == pytest.approx((0.12, 0.22))
    ball = collision_shape(sphere(UP, 0.1), 0.02)
    assert isinstance(ball, coal.Sphere)
    assert ball.radius == pytest.approx(0.12)
    other = collision_shape(np.append(box(UP, [0.1, 0.2, 0.3])[:10], [0.01, 0.02]))
    assert isinstance(other, coal.Box)
    assert other.halfSide == pytest.approx([0.08, 0.13, 0.17])


def test_the_checker_sees_the_obstacles_it_is_given_last(params: Params) -> None:
    checker = CollisionChecker(params.robot, params.override("task", scene="bar").task)
    home = checker.model.home
    tcp = checker.model.tcp(home).translation
    here, there = box(tcp, [0.2, 0.2, 0.2]), box(tcp + 1.0, [0.05, 0.05, 0.05])
    assert not checker.collides(home, AWAY, UP)
    checker.place_obstacles(np.stack([there, here]))
    pair = checker.touching(home, AWAY, UP)
    assert pair is not None
    assert pair[1] == "obstacle 5"  # after the three boxes of the scene
    checker.place_obstacles(there[None])
    assert not checker.collides(home, AWAY, UP)
    checker.place_obstacles(np.zeros((0, 12)))
    assert checker.touching(home, AWAY, UP) is None


def test_plans_go_round_an_arrangement_that_leaves_home_and_object_free(arranged: Params) -> None:
    planner = Planner(arranged.robot, arranged.task, arranged.collect)
    checker = CollisionChecker(arranged.robot, arranged.task)
    rng, planned = np.random.default_rng(5), 0
    for _ in range(12):
        position, axis = sample_object(arranged.task, rng)
        rows = planner.arrange(position, axis, rng)
        gap = distances(np.stack([position]), rows).min()
        assert gap > arranged.task.arrangement.object_gap_m
        plan = planner.plan(position, axis, rng)
        assert planner.reason != "start in collision"
        if plan is None:
            continue
        planned += 1
        checker.place_obstacles(rows)
        motion = plan.sample(np.linspace(0, plan.duration_s, 100))
        assert checker.first_contact(motion, position, axis) is None
    assert planned > 3


def test_an_arrangement_s_ranges_are_checked(params: Params) -> None:
    for wrong in ({"number": (3, 2)}, {"size_min_m": (1.0, 1.0, 1.0)}):
        arrangement = {**params.task.arrangement.model_dump(), **wrong}
        with pytest.raises(ParamsError, match=r"exceeds|expected \[least, most\]"):
            params.override("task", arrangement=arrangement)


def test_the_boxes_of_a_scene_are_rows(params: Params) -> None:
    task = params.override("task", scene="bar").task
    rows = scene_obstacles(task)
    assert rows[1] == pytest.approx(box([0.45, 0.22, 0.20], [0.04, 0.04, 0.42]))
    assert len(rows) == 3
    assert scene_obstacles(params.task).shape == (0, 12)


def test_without_an_arrangement_nothing_stands_around(params: Params) -> None:
    planner = Planner(params.robot, params.task, params.collect)
    planner.checker.place_obstacles(box(AWAY, [0.1, 0.1, 0.1])[None])
    assert len(planner.arrange(AWAY, UP, np.random.default_rng(0))) == 0
    assert len(planner.checker.obstacles) == 0

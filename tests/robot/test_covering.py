"""The numbers that the guard computes with cover the shapes that the checks are made with."""

from __future__ import annotations

from pathlib import Path

import coal
import numpy as np
import pinocchio as pin
import pytest

from pipeline.clearance.model import ClearanceModel
from pipeline.clearance.objects import Objects
from pipeline.collision_geometry import CollisionGeometry
from pipeline.params import Params, RobotParams, load_params
from pipeline.robot.chain import kinematic_chain
from pipeline.robot.collision import CollisionChecker
from pipeline.robot.covering import collision_geometry, cover
from pipeline.robot.model import ModelError, RobotModel

REPOSITORY = Path(__file__).parents[2]
Array = np.ndarray


def _mesh(points: Array) -> coal.BVHModelOBBRSS:
    mesh = coal.BVHModelOBBRSS()
    mesh.beginModel(0, 0)
    mesh.addVertices(points)
    mesh.addTriangles(np.array([[0, 1, 2], [2, 3, 4], [4, 5, 0]], dtype=np.uint64))
    mesh.endModel()
    return mesh


def _surface(shape: coal.CollisionGeometry, rng: np.random.Generator) -> Array:
    """Points on a shape's surface, the farthest among them: (N, 3)."""
    way = rng.normal(size=(500, 3))
    way /= np.linalg.norm(way, axis=1, keepdims=True)
    if isinstance(shape, coal.Box):
        return _on_box(way) * np.asarray(shape.halfSide)
    if isinstance(shape, coal.Sphere):
        return way * shape.radius
    if isinstance(shape, coal.Ellipsoid):
        return way * np.asarray(shape.radii)
    if isinstance(shape, coal.Capsule):
        return way * shape.radius + np.sign(way[:, 2:]) * [0, 0, shape.halfLength]
    angle = rng.uniform(0, 2 * np.pi, 500)
    rim = np.stack([np.cos(angle), np.sin(angle), np.zeros(500)], axis=1)
    height = rng.choice([-1.0, 1.0], (500, 1)) * [0, 0, 1.0]
    if isinstance(shape, coal.Cylinder):
        return rim * shape.radius + height * shape.halfLength
    assert isinstance(shape, coal.Cone)
    return np.concatenate([rim * shape.radius - [0, 0, shape.halfLength],
                           [[0, 0, shape.halfLength]]])  # fmt: skip


def _on_box(way: Array) -> Array:
    return way / np.abs(way).max(axis=1, keepdims=True)


def _outside(
    points: Array, turn: Array, centre: Array, half: Array, disc: float, ball: float
) -> float:
    """How far the farthest point lies outside a body of those numbers, m."""
    local = np.abs((points - centre) @ turn) - half
    flat = np.maximum(np.linalg.norm(np.maximum(local[:, :2], 0), axis=1) - disc, 0)
    return float((np.hypot(flat, np.maximum(local[:, 2], 0)) - ball).max())


@pytest.mark.parametrize(
    "shape",
    [
        coal.Box(0.1, 0.2, 0.3), coal.Sphere(0.1), coal.Capsule(0.05, 0.4),
        coal.Cylinder(0.05, 0.4), coal.Cone(0.1, 0.3), coal.Ellipsoid(0.1, 0.2, 0.3),
    ],
)  # fmt: skip
def test_numbers_cover_a_shape(shape: coal.CollisionGeometry) -> None:
    points = _surface(shape, np.random.default_rng(0))
    assert _outside(points, *cover(shape)) < 1e-9


def test_a_mesh_is_covered_by_the_smaller_of_two_boxes() -> None:
    rng = np.random.default_rng(1)
    points = rng.uniform(-1, 1, (60, 3)) * [0.3, 0.02, 0.02] + [0.2, 0, 0]
    slanted = points @ pin.exp3(np.array([0.4, 0.5, 0.6])).T
    for vertices in (points, slanted):
        numbers = cover(_mesh(vertices))
        assert _outside(vertices, *numbers) < 1e-9
        # A box along the axes of the slanted one would hold 20 times as much.
        assert np.prod(2 * numbers[2]) < 3 * np.prod(np.ptp(points, axis=0))


def _arms(params: Params) -> list[tuple[RobotParams, Params]]:
    rail = load_params(REPOSITORY / "examples/rail_arm.yaml")
    rail = rail.override(
        "robot", urdf=REPOSITORY / rail.robot.urdf, srdf=REPOSITORY / rail.robot.srdf
    )
    return [(p.robot, p) for p in (params.override("task", scene="bar"), rail)]


def _check_cover(robot: RobotParams, params: Params) -> None:
    """Sampled points of every true shape lie inside its numbers, wherever the joints are."""
    rng = np.random.default_rng(3)
    checker = CollisionChecker(robot, params.task)
    model, scene = checker.model, checker.model.geometry
    geometry = collision_geometry(robot, params.task)
    arm = ClearanceModel(kinematic_chain(model), model.joints, geometry, model.limits)
    used = sorted({i for pair in scene.collisionPairs for i in (pair.first, pair.second)})
    assert len(used) == len(geometry.shapes)
    assert len(geometry.pairs) == len(scene.collisionPairs)
    lower, upper = model.planning_range()
    position, axis = np.array([0.4, 0.1, 0.3]), np.array([0.6, 0.0, 0.8])
    data, placed = model.pinocchio.createData(), scene.createData()
    for q in rng.uniform(lower, upper, (5, len(lower))):
        checker.collides(q, position, axis)
        pin.updateGeometryPlacements(model.pinocchio, data, scene, placed, model.configuration(q))
        poses = arm.poses(q[None], Objects(position[None], axis[None]))
        for number, index in enumerate(used):
            shape = geometry.shapes[number]
            local = _surface(scene.geometryObjects[index].geometry, rng)
            world = model.world_base.inverse() * placed.oMg[index]
            points = local @ world.rotation.T + world.translation
            outside = _outside(
                points, poses.rotation[:, :, number, 0], poses.centre[:, number, 0],
                np.array(shape.half_m), shape.disc_m, shape.ball_m,
            )  # fmt: skip
            assert outside < 1e-9, shape.name


def test_every_shape_of_an_arm_is_covered_in_any_pose(params: Params) -> None:
    for robot, whole in _arms(params):
        _check_cover(robot, whole)


def test_a_base_off_the_world_s_origin_and_joints_in_another_order(
    params: Params, crane: RobotParams
) -> None:
    _check_cover(crane, params)


def test_pairs_are_named_as_the_checks_name_them(params: Params) -> None:
    bar = params.override("task", scene="bar")
    geometry = collision_geometry(bar.robot, bar.task)
    model = RobotModel.from_params(bar.robot)
    arm = ClearanceModel(kinematic_chain(model), model.joints, geometry, model.limits)
    names = {arm.pair_names(pair) for pair in range(len(geometry.pairs))}
    assert {("link_4", "obstacle 1"), ("rh_p12_rn_l", "pen"), ("link_5", "table")} <= names
    assert not any("base_link" in pair and "table" in pair for pair in names)
    assert ("link_2", "link_5") not in names  # the SRDF leaves it out
    assert geometry.object is not None
    assert geometry.shapes[geometry.object].name == "pen"


def test_a_shape_off_the_chain_is_refused(params: Params, crane: RobotParams) -> None:
    short = crane.model_copy(
        update={"tip_link": "cart", "joints": crane.joints, "tcp_offset_m": 0.0}
    )
    with pytest.raises(ModelError, match="does not carry the TCP"):
        collision_geometry(short, params.task)


def test_the_geometry_survives_json(params: Params) -> None:
    import json

    geometry = collision_geometry(params.robot, params.task)
    again = CollisionGeometry.from_dict(json.loads(json.dumps(geometry.to_dict())))
    assert again == geometry

"""Compares distances with coal's exact ones, and gradients with finite differences."""

from __future__ import annotations

import numpy as np
import pinocchio as pin
import pytest

from pipeline.clearance.model import ClearanceModel
from pipeline.clearance.objects import Objects
from pipeline.collision_geometry import CollisionGeometryError
from pipeline.kinematics import JointLimits
from pipeline.params import Params
from pipeline.robot.chain import kinematic_chain
from pipeline.robot.collision import CollisionChecker
from pipeline.robot.covering import collision_geometry

Array = np.ndarray
SAMPLES = 60


def _boxes(rng: np.random.Generator) -> dict[str, object]:
    """A scene of random boxes."""
    centre, size = (
        rng.uniform([0.2, -0.5, 0.1], [0.8, 0.5, 0.8], (4, 3)),
        rng.uniform(0.03, 0.3, (4, 3)),
    )
    boxes = [{"centre_m": list(c), "size_m": list(s)} for c, s in zip(centre, size, strict=True)]
    return {"scene": "random", "scenes": {"random": boxes}}


class Scene:
    """Random poses of the arm among random boxes, measured by both."""

    def __init__(self, params: Params) -> None:
        rng = np.random.default_rng(5)
        self.params = params.override("task", **_boxes(rng))
        geometry = collision_geometry(self.params.robot, self.params.task)
        self.checker = CollisionChecker(self.params.robot, self.params.task)
        robot = self.checker.model
        self.model = ClearanceModel(kinematic_chain(robot), robot.joints, geometry, robot.limits)
        self.joint_pos = rng.uniform(robot.lower, robot.upper, (SAMPLES, 6))
        self.position = rng.uniform([0.25, -0.15, 0.1], [0.6, 0.15, 0.5], (SAMPLES, 3))
        axis = rng.normal(size=(SAMPLES, 3))
        self.axis = axis / np.linalg.norm(axis, axis=1, keepdims=True)
        pairs = len(geometry.pairs)
        self.sample, self.pair = np.divmod(np.arange(SAMPLES * pairs), pairs)

    def distances(self, joint_pos: Array) -> Array:
        poses = self.model.poses(joint_pos, Objects(self.position, self.axis))
        return self.model.clearances(poses, self.sample, self.pair).distance

    def exact(self) -> Array:
        """Exact distances from coal, in the order of the pairs."""
        model, scene = self.checker.model, self.checker.model.geometry
        data, results = model.pinocchio.createData(), scene.createData()
        found = []
        for q, position, axis in zip(self.joint_pos, self.position, self.axis, strict=True):
            self.checker.collides(q, position, axis)  # places the object
            pin.computeDistances(model.pinocchio, data, scene, results, model.configuration(q))
            found.append([result.min_distance for result in results.distanceResults])
        return np.array(found).ravel()


@pytest.fixture(scope="module")
def scene(params: Params) -> Scene:
    return Scene(params)


def test_distances_agree_with_coal_and_are_never_too_large(scene: Scene) -> None:
    exact, distance = scene.exact(), scene.distances(scene.joint_pos)
    apart = exact > 1e-6
    short = (exact - distance)[apart]
    assert apart.sum() > 5000
    assert short.min() > -1e-9
    # Cylinders and boxes are represented exactly, so the search causes all of the slack.
    assert np.percentile(short, 99) < 2e-4
    assert short.max() < 3e-3
    # Overlapping bodies never get a positive distance.
    overlap = exact < -1e-6
    assert overlap.sum() > 50
    assert distance[overlap].max() < 0


def test_a_warm_started_search_finds_the_same_distance(scene: Scene) -> None:
    poses = scene.model.poses(scene.joint_pos, Objects(scene.position, scene.axis))
    first = scene.model.clearances(poses, scene.sample, scene.pair)
    moved = scene.model.poses(scene.joint_pos + 0.005, Objects(scene.position, scene.axis))
    warm = scene.model.clearances(moved, scene.sample, scene.pair, first.search)
    anew = scene.model.clearances(moved, scene.sample, scene.pair)
    near = (anew.distance > 1e-3) & (anew.distance < 0.1)
    assert near.sum() > 100
    assert np.abs(warm.distance - anew.distance)[near].max() < 2e-3


def test_gradients_agree_with_finite_differences(scene: Scene) -> None:
    poses = scene.model.poses(scene.joint_pos, Objects(scene.position, scene.axis))
    found = scene.model.clearances(poses, scene.sample, scene.pair)
    near = (found.distance > 1e-3) & (found.distance < 0.1)
    everything = np.ones(len(found.distance), dtype=np.bool_)
    slope = np.zeros_like(found.gradient(everything))
    for joint in range(6):
        step = np.zeros(6)
        step[joint] = 1e-6
        ahead, behind = (scene.distances(scene.joint_pos + s * step) for s in (1, -1))
        slope[:, joint] = (ahead - behind) / 2e-6
    error = np.abs(slope - found.gradient(everything))[near].max(axis=1)
    assert near.sum() > 100
    # Where two faces become parallel, the nearest points jump and the gradient is discontinuous.
    assert np.mean(error < 1e-3) > 0.9


def test_a_small_step_along_the_gradient_leads_away(scene: Scene) -> None:
    poses = scene.model.poses(scene.joint_pos, Objects(scene.position, scene.axis))
    found = scene.model.clearances(poses, scene.sample, scene.pair)
    everything = np.ones(len(found.distance), dtype=np.bool_)
    gradients = found.gradient(everything)
    steep = np.linalg.norm(gradients, axis=1) > 0.05
    near = np.flatnonzero((found.distance > -0.01) & (found.distance < 0.05) & steep)
    rng = np.random.default_rng(1)
    gained = []
    for index in rng.choice(near, 200):
        sample, pair = scene.sample[index : index + 1], scene.pair[index : index + 1]
        gradient = gradients[index]
        step = 0.002 * gradient / np.square(gradient).sum()
        where = (scene.position[sample], scene.axis[sample])
        moved = scene.model.poses(scene.joint_pos[sample] + step, Objects(*where))
        after = scene.model.clearances(moved, np.zeros(1, dtype=np.int64), pair).distance[0]
        gained.append(after - found.distance[index])
    assert np.mean(np.array(gained) > 0.001) > 0.95  # of the two millimetres asked for


def test_bounds_are_below_the_distances(scene: Scene) -> None:
    objects = Objects(scene.position, scene.axis)
    bounds = scene.model.bounds(scene.joint_pos, objects).ravel()
    distance = scene.distances(scene.joint_pos)
    apart = distance > 0
    assert (bounds <= distance + 1e-3)[apart].all()
    assert (bounds[~apart] <= 0).all()


def test_no_point_moves_further_than_its_reach(scene: Scene) -> None:
    rng = np.random.default_rng(8)
    ahead = scene.joint_pos + rng.uniform(-0.1, 0.1, scene.joint_pos.shape)
    before, after = (scene.distances(q) for q in (scene.joint_pos, ahead))
    way = (np.abs(ahead - scene.joint_pos) @ scene.model.reach)[scene.sample]
    apart = (before > 1e-3) & (after > 1e-3)
    assert (np.abs(after - before)[apart] <= way[apart] + 3e-3).all()


def test_missing_joints_are_named(params: Params) -> None:
    geometry = collision_geometry(params.robot, params.task)
    robot = CollisionChecker(params.robot, params.task).model
    limits = JointLimits(*(values[:5] for values in vars(robot.limits).values()))
    with pytest.raises(CollisionGeometryError, match="joint_6"):
        ClearanceModel(kinematic_chain(robot), robot.joints[:5], geometry, limits)


def test_gradients_of_some_combinations_are_those_of_all(scene: Scene) -> None:
    poses = scene.model.poses(scene.joint_pos, Objects(scene.position, scene.axis))
    found = scene.model.clearances(poses, scene.sample, scene.pair)
    some = np.random.default_rng(2).random(len(found.distance)) < 0.3
    every = found.gradient(np.ones_like(some))
    np.testing.assert_array_equal(found.gradient(some), every[some])

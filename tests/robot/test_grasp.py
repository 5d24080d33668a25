"""Grasps with contacts: a pen between the fingers is lifted, a pen beside them is not."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.obstacles import box, cylinder, sphere
from pipeline.params import Params, RobotParams
from pipeline.robot.arrangement import sample_object
from pipeline.robot.grasp import GraspSimulator
from pipeline.robot.model import ModelError, RobotModel
from pipeline.robot.planner import Planner
from pipeline.robot.simulator import SimulationError

Array = NDArray[np.float64]


@pytest.fixture(scope="module")
def simulator(params: Params) -> GraspSimulator:
    return GraspSimulator(params.robot, params.task, params.evaluate)


@pytest.fixture(scope="module")
def grasps(params: Params) -> tuple[Array, Array, Array]:
    """Last poses of the expert's plans, with the centres and axes of the pens."""
    planner = Planner(params.robot, params.task, params.collect)
    rng = np.random.default_rng(11)
    found = []
    while len(found) < 4:
        where = sample_object(params.task, rng)
        plan = planner.plan(*where, rng)
        if plan is not None:
            found.append((plan.joint_pos[-1], *where))
    joint_pos, position, axis = (np.stack(column) for column in zip(*found, strict=True))
    return joint_pos, position, axis


def _beside(arm: RobotModel, grasps: tuple[Array, Array, Array], axis: int, by_m: float) -> Array:
    """Centres of the pens, moved along an axis of the gripper."""
    return grasps[1] + by_m * np.stack([arm.tcp(q).rotation[:, axis] for q in grasps[0]])


def test_the_expert_s_grasp_lifts_the_pen(
    simulator: GraspSimulator, grasps: tuple[Array, Array, Array], params: Params
) -> None:
    lifts = simulator.lift(*grasps)
    assert lifts.lifted.all()
    assert lifts.reachable.all()
    assert lifts.risen_m == pytest.approx(np.full(4, params.evaluate.grasp_lift_m), abs=2e-3)
    assert (lifts.slipped_m < 2e-3).all()


@pytest.mark.parametrize("axis", [0, 1], ids=["towards a finger", "past the fingers"])
def test_a_gripper_three_centimetres_beside_the_pen_fails(
    simulator: GraspSimulator, arm: RobotModel, grasps: tuple[Array, Array, Array], axis: int
) -> None:
    beside = _beside(arm, grasps, axis, 0.03)
    assert not simulator.lift(grasps[0], beside, grasps[2]).lifted.any()


def test_a_gripper_five_millimetres_off_still_lifts(
    simulator: GraspSimulator, arm: RobotModel, grasps: tuple[Array, Array, Array]
) -> None:
    off = _beside(arm, grasps, 0, 0.005)
    assert simulator.lift(grasps[0], off, grasps[2]).lifted.all()


def test_a_pen_too_heavy_for_the_friction_is_not_lifted(
    params: Params, grasps: tuple[Array, Array, Array]
) -> None:
    # Two fingers of 20 N and friction 0.3 carry 12 N: 0.5 kg is lifted, 2 kg is not.
    gripper = {**params.robot.gripper.model_dump(), "friction": 0.3}
    robot = params.override("robot", gripper=gripper).robot
    lifted = [
        GraspSimulator(
            robot, params.override("task", object_mass_kg=mass).task, params.evaluate
        ).lift(*(array[:1] for array in grasps))
        for mass in (0.5, 2.0)
    ]
    assert lifted[0].risen_m[0] > 0.04
    assert lifted[1].risen_m[0] < 0.0


def test_the_order_of_tries_changes_nothing(
    simulator: GraspSimulator, grasps: tuple[Array, Array, Array]
) -> None:
    forward = simulator.lift(*grasps)
    backward = simulator.lift(*(array[::-1] for array in grasps))
    assert np.array_equal(forward.risen_m, backward.risen_m[::-1])


def test_an_arm_at_its_full_reach_cannot_lift(
    simulator: GraspSimulator, arm: RobotModel, params: Params
) -> None:
    upright = np.zeros((1, 6))
    tcp = arm.tcp(upright[0])
    axis = -tcp.rotation[:, 2]
    centre = tcp.translation - axis * params.task.object_length_m / 2
    lifts = simulator.lift(upright, centre[None], axis[None])
    assert not lifts.reachable[0]
    assert not lifts.lifted[0]


def test_an_obstacle_above_stops_the_lift(
    params: Params, arm: RobotModel, grasps: tuple[Array, Array, Array]
) -> None:
    """The lid is just above the arm's highest link."""
    joint_pos, position, axis = (array[:1] for array in grasps)
    points = arm.link_positions(joint_pos[0])
    wrist = points[-3]
    lid = {"centre_m": (wrist[0], wrist[1], wrist[2] + 0.09), "size_m": (0.2, 0.2, 0.04)}
    task = params.override("task", scene="lid", scenes={"lid": [lid]}).task
    assert (
        not GraspSimulator(params.robot, task, params.evaluate)
        .lift(joint_pos, position, axis)
        .lifted[0]
    )


def test_a_base_off_the_world_s_origin_changes_nothing(params: Params, crane: RobotParams) -> None:
    """The crane's base is half a metre above the origin, so its pen and table must be too."""
    gripper = {**params.robot.gripper.model_dump(), "fingers": ("finger",), "closing": ((1, 0, 0),)}
    robot = crane.model_copy(update={"gripper": type(params.robot.gripper)(**gripper)})
    task = params.override("task", table_height_m=-0.2).task
    arm = RobotModel.from_params(robot)
    tcp = arm.tcp(arm.home).translation
    lifts = GraspSimulator(robot, task, params.evaluate).lift(
        arm.home[None], tcp[None] + [0.0, 0.3, 0.0], np.array([[0.0, 0.0, 1.0]])
    )
    # This pen is out of the gripper: it falls onto the table, upright or flat.
    fall = tcp[2] - task.table_height_m
    assert lifts.reachable[0]
    assert -fall - 0.01 < lifts.risen_m[0] < -fall + task.object_length_m


def test_errors_name_a_wrong_gripper_or_shape(
    params: Params, grasps: tuple[Array, Array, Array]
) -> None:
    none = {**params.robot.gripper.model_dump(), "fingers": (), "closing": ()}
    with pytest.raises(SimulationError, match="fingers is empty"):
        GraspSimulator(params.override("robot", gripper=none).robot, params.task, params.evaluate)
    other = {**params.robot.gripper.model_dump(), "fingers": ("left", "right")}
    with pytest.raises(ModelError, match=r"no link 'left'.*rh_p12_rn_l"):
        GraspSimulator(params.override("robot", gripper=other).robot, params.task, params.evaluate)
    with pytest.raises(SimulationError, match=r"\(4, 5\)"):
        GraspSimulator(params.robot, params.task, params.evaluate).lift(
            grasps[0][:, :5], *grasps[1:]
        )


def test_each_grasp_has_its_own_obstacles(
    simulator: GraspSimulator, arm: RobotModel, grasps: tuple[Array, Array, Array]
) -> None:
    """A lid just above the wrist stops its own lift and no other one."""
    wrist = arm.link_positions(grasps[0][0])[-3]
    lids = [
        box(wrist + np.array([0, 0, 0.11]), [0.2, 0.2, 0.04], [0, 0, np.sin(0.3), np.cos(0.3)]),
        cylinder(wrist + np.array([0, 0, 0.11]), 0.1, 0.04),
        sphere(wrist + np.array([0, 0, 0.19]), 0.1),
    ]
    none = np.zeros((0, 12))
    # The same grasp five times, with no obstacle, each lid, and none again.
    around = [none, *(lid[None] for lid in lids), none]
    same = [np.repeat(array[:1], 5, axis=0) for array in grasps]
    lifts = simulator.lift(same[0], same[1], same[2], around)
    assert lifts.lifted.tolist() == [True, False, False, False, True]
    assert lifts.risen_m[0] == lifts.risen_m[4]
    assert simulator.lift(*(array[:1] for array in grasps)).lifted.all()

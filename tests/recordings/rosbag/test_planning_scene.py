"""Obstacles are written as MoveIt2 publishes them."""

import numpy as np
import pytest

from pipeline.obstacles import ObstacleError, box, cylinder, sphere
from pipeline.recordings.rosbag.messages import PLANNING_SCENE, typestore
from pipeline.recordings.rosbag.planning_scene import obstacle_name, serialize_planning_scene

TURN = np.array([0.0, 0.6, 0.0, 0.8])
ROWS = np.stack(
    [
        box([0.4, 0.1, 0.2], [0.1, 0.2, 0.3], TURN),
        cylinder([0.3, 0, 0.1], 0.05, 0.4),
        sphere([1, 2, 3], 0.7),
    ]
)


def scene(*arguments):
    raw = serialize_planning_scene(3_000_000_001, "base_link", *arguments)
    return typestore().deserialize_cdr(raw, PLANNING_SCENE)


def test_each_obstacle_is_added_with_its_shape_and_pose():
    message = scene(ROWS)
    assert message.is_diff and message.robot_state.is_diff
    boxes = message.world.collision_objects
    assert [item.id for item in boxes] == ["obstacle_1", "obstacle_2", "obstacle_3"]
    assert {item.operation for item in boxes} == {0}
    assert {item.header.frame_id for item in boxes} == {"base_link"}
    assert (boxes[0].header.stamp.sec, boxes[0].header.stamp.nanosec) == (3, 1)
    shapes = [item.primitives[0] for item in boxes]
    assert [shape.type for shape in shapes] == [1, 3, 2]
    for shape, size in zip(shapes, ([0.1, 0.2, 0.3], [0.4, 0.05], [0.7]), strict=True):
        np.testing.assert_array_equal(shape.dimensions, size)
    where, turn = boxes[0].pose.position, boxes[0].pose.orientation
    assert (where.x, where.y, where.z) == (0.4, 0.1, 0.2)
    assert (turn.x, turn.y, turn.z, turn.w) == tuple(TURN)
    assert all(item.primitive_poses[0].orientation.w == 1.0 for item in boxes)


def test_obstacles_that_are_gone_are_removed_by_name():
    (gone,) = scene(np.zeros((0, 12)), [obstacle_name(2)]).world.collision_objects
    assert (gone.id, gone.operation, gone.primitives) == ("obstacle_2", 1, [])


@pytest.mark.parametrize(
    ("column", "value"), [(7, 0.0), (10, 0.1), (11, 0.1)], ids=["flat", "disc", "ball"]
)
def test_a_shape_that_moveit_does_not_know_is_refused(column, value):
    row = ROWS[0].copy()
    row[column] = value
    with pytest.raises(ObstacleError, match="a box, a cylinder or a sphere"):
        scene(row[None])

"""Messages about the scene are turned into changes of it."""

import numpy as np
import pytest

from pipeline.recordings.scene_messages import (
    parse_attached_object,
    parse_collision_object,
    parse_planning_scene,
)
from tests.fixtures.scenes import ADD, BOX, CUBE, MOVE, REMOVE, THERE, S


def parsed(item):
    return parse_collision_object("/collision_object", 0, 9, item).objects[0]


def test_a_full_scene_replaces_world_attached_objects_and_octomap():
    change = parse_planning_scene("/planning_scene", 0, 9, S.scene(whole=True))
    assert (change.log_time_ns, change.whole, change.clears_attached) == (9, True, True)
    assert change.octomap is False


@pytest.mark.parametrize(("data", "octomap"), [(None, None), (b"", False), (b"x", True)])
def test_a_difference_replaces_only_what_it_names(data, octomap):
    change = parse_planning_scene("/planning_scene", 0, 9, S.scene(octomap=data))
    assert (change.whole, change.clears_attached, change.octomap) == (False, False, octomap)
    assert change.objects == change.attached == ()


def test_operations_and_frames_are_read():
    items = [S.item("a", CUBE, frame="world"), S.item("b", operation=REMOVE, frame="gone")]
    tool = S.attached("hand", S.item("c", CUBE, frame="tool"))
    change = parse_planning_scene("/planning_scene", 0, 9, S.scene(*items, attached=[tool]))
    assert [(each.operation, each.name) for each in change.objects] == [
        ("add", "a"),
        ("remove", "b"),
    ]
    assert change.frames == {"world", "tool", "hand"}
    (attached,) = parse_attached_object("/attached_collision_object", 0, 9, tool).attached
    assert (attached.link, attached.name, len(attached.shapes)) == ("hand", "c", 1)


def test_the_pose_of_the_only_shape_becomes_the_object_s_if_that_has_none():
    alone = parsed(S.item("a", CUBE, poses=[THERE]))
    np.testing.assert_array_equal(alone.pose.position, THERE[:3])
    assert not alone.shapes[0].pose.position.any()
    both = parsed(S.item("a", CUBE, CUBE, poses=[THERE, THERE]))
    assert not both.pose.position.any()
    np.testing.assert_array_equal(both.shapes[1].pose.position, THERE[:3])


def test_shapes_without_poses_stand_at_the_object_s():
    found = parsed(S.item("a", CUBE, CUBE, at=THERE, poses=[THERE]))
    assert [each.pose.position.any() for each in found.shapes] == [True, False]


@pytest.mark.parametrize("turn", [(0, 0, 0, 0), (0, 0, 0, 2)])
def test_quaternions_are_normalised_and_zeros_turn_nothing(turn):
    found = parsed(S.item("a", CUBE, at=(1, 2, 3, *turn)))
    np.testing.assert_array_equal(found.pose.orientation, [0, 0, 0, 1])


def test_what_is_wrong_with_a_shape_is_kept():
    bad, plane = S.primitive(BOX, 0.1), S.plane(0, 0, 1, 0)
    found = parsed(S.item("a", CUBE, bad, at=THERE, planes=[plane], operation=ADD)).shapes
    assert [each.invalid for each in found] == ["", "box of dimensions [0.1]", ""]
    assert [each.unsupported for each in found] == ["", "", "plane"]


def test_a_moved_object_lists_the_poses_of_its_shapes():
    found = parsed(S.item("a", at=THERE, poses=[THERE, THERE], operation=MOVE))
    assert (found.shapes, len(found.shape_poses)) == ((), 2)


def test_an_unknown_operation_is_refused():
    with pytest.raises(ValueError, match="object 'a': operation 4, expected 0 to 3"):
        parsed(S.item("a", CUBE, operation=4))

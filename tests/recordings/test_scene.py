"""The scene follows any sequence of messages as a plain model of MoveIt's world does."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.recordings.pose import IDENTITY, Pose
from pipeline.recordings.scene import Scene
from pipeline.recordings.scene_messages import (
    parse_attached_object,
    parse_collision_object,
    parse_planning_scene,
)
from tests.fixtures.scenes import ADD, APPEND, CUBE, MOVE, REMOVE, SPHERE, THERE, S

HAND = Pose(np.array([0.0, 0.0, 1.0]), np.array([0.0, 0.6, 0.0, 0.8]))
BALL = S.primitive(SPHERE, 0.1)


def locate(frame):
    return {"base_link": IDENTITY, "hand": HAND}.get(frame)


def apply(scene, item, time_ns=0):
    return scene.apply(parse_collision_object("", 0, time_ns, item), locate)


def attach(scene, link, name, *shapes, operation=ADD, time_ns=0):
    item = S.attached(link, S.item(name, *shapes, frame=link, operation=operation))
    return scene.apply(parse_attached_object("", 0, time_ns, item), locate)


# Operation, name and an x coordinate; spheres, so that rows need no rotation.
step = st.tuples(
    st.sampled_from([ADD, REMOVE, APPEND, MOVE]), st.sampled_from("ab"), st.integers(1, 9)
)


@given(steps=st.lists(step, min_size=1, max_size=12))
def test_any_sequence_of_operations_leaves_what_moveit_s_world_holds(steps):
    scene = Scene()
    world: dict[str, tuple[float, list[float]]] = {}
    for operation, name, x in steps:
        at, inside = (x, 0, 0, 0, 0, 0, 1), [(0.5, 0, 0, 0, 0, 0, 1)]
        adds = operation in {ADD, APPEND}
        shapes, poses = ([BALL], inside) if adds else ([], ())
        found = apply(scene, S.item(name, *shapes, at=at, operation=operation, poses=poses))
        if operation == ADD or (operation == APPEND and name not in world):
            world[name] = (x, [0.5])
        elif operation == APPEND:
            world[name] = (world[name][0], [*world[name][1], 0.5])
        elif operation == MOVE and name in world:
            world[name] = (x, world[name][1])
        elif operation == REMOVE:
            world.pop(name, None)
        expected = [x + offset for x, offsets in world.values() for offset in offsets]
        assert sorted(found.rows[:, 0]) == sorted(expected)


def test_an_object_keeps_its_place_in_the_hand():
    scene = Scene()
    before = apply(scene, S.item("a", CUBE, at=THERE), time_ns=1)
    assert len(attach(scene, "hand", "a", time_ns=2).rows) == 0
    after = attach(scene, "", "", operation=REMOVE, time_ns=3)
    np.testing.assert_allclose(after.rows, before.rows, atol=1e-12)
    assert (before.log_time_ns, after.log_time_ns) == (1, 3)


def test_what_is_not_there_cannot_be_attached_or_detached():
    scene = Scene()
    for operation in (ADD, APPEND, REMOVE, MOVE):
        assert len(attach(scene, "hand", "a", operation=operation).rows) == 0


def test_an_object_is_detached_only_from_its_own_link():
    scene = Scene()
    attach(scene, "hand", "a", CUBE)
    assert len(attach(scene, "elbow", "a", operation=REMOVE).rows) == 0
    assert len(attach(scene, "hand", "a", operation=REMOVE).rows) == 1


def test_shapes_are_appended_to_an_attached_object():
    scene = Scene()
    for operation in (ADD, APPEND):
        attach(scene, "hand", "a", CUBE, operation=operation)
    np.testing.assert_allclose(attach(scene, "hand", "a", operation=REMOVE).rows[:, 2], [1, 1])


def test_a_detached_object_does_not_replace_one_of_the_world():
    scene = Scene()
    attach(scene, "hand", "a", CUBE)
    apply(scene, S.item("a", BALL, at=THERE))
    found = attach(scene, "hand", "a", operation=REMOVE)
    np.testing.assert_array_equal(found.rows[:, :3], [THERE[:3]])


def test_problems_name_the_object_and_ignored_objects_have_none():
    message = S.scene(
        S.item("far", CUBE, frame="moon"), S.item("floor", planes=[S.plane(0, 0, 1, 0)]),
        S.item("flat", S.primitive(1, 0.1, 0.0, 0.1)), octomap=b"x",
    )  # fmt: skip
    for ignored in ((), ("far", "floor", "flat")):
        found = Scene(ignored).apply(parse_planning_scene("", 0, 0, message), locate)
        names = [] if ignored else ["'far' in frame 'moon'"]
        assert list(found.unresolved) == names
        assert len(found.invalid) == len(names)
        assert found.unsupported == (("octomap",) if ignored else ("octomap", "plane of 'floor'"))
        assert len(found.rows) == 0

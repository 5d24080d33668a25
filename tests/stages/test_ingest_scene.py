"""Ingest follows MoveIt2's planning scene as MoveIt does."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pipeline.obstacles import box, cylinder, sphere
from tests.fixtures.scenes import (
    APPEND,
    ATTACHED,
    BOX,
    CONE,
    CUBE,
    CYLINDER,
    MONITORED,
    MOVE,
    OBJECT,
    PLAN,
    REMOVE,
    SCENE,
    SPHERE,
    THERE,
    TURN,
    S,
    place,
    same,
)


def test_every_shape_becomes_an_obstacle(ingest_events):
    corners = np.array([[x, y, z] for x in (0, 0.4) for y in (0, 0.2) for z in (0, 0.1)])
    turned = Rotation.from_quat(TURN).apply(corners)
    triangles = [(0, 1, 2), (3, 4, 5), (6, 7, 0)]
    (found,), report = ingest_events(
        (SCENE, S.scene(
            S.item("a", S.primitive(BOX, 0.1, 0.2, 0.3), at=THERE),
            S.item("b", S.primitive(SPHERE, 0.2), at=THERE),
            S.item("c", S.primitive(CYLINDER, 0.4, 0.05), at=THERE),
            S.item("d", S.primitive(CONE, 0.4, 0.05), at=THERE),
            S.item("e", at=THERE, meshes=[S.mesh(corners, triangles)]),
            S.item("f", at=THERE, meshes=[S.mesh(turned, triangles)]),
        )),
        PLAN,
    )  # fmt: skip
    tall = place(THERE, cylinder([0, 0, 0], 0.05, 0.4))
    same(
        found[:5],
        [
            place(THERE, box([0, 0, 0], [0.1, 0.2, 0.3])),
            place(THERE, sphere([0, 0, 0], 0.2)),
            tall,
            tall,
            place(THERE, box([0.2, 0.1, 0.05], [0.4, 0.2, 0.1])),
        ],
    )
    # The box along the principal axes: its axes in any order.
    assert np.sort(found[5, 7:10]) == pytest.approx([0.05, 0.1, 0.2])
    centre = place(THERE, place((0, 0, 0, *TURN), box([0.2, 0.1, 0.05], [1, 1, 1])))[:3]
    np.testing.assert_allclose(found[5, :3], centre, atol=1e-12)
    assert report["totals"] == {"accepted": 1, "warned": 0, "rejected": 0}
    assert report["obstacles"] == {"episodes": 1, "most": 6}


def test_objects_come_move_and_go(ingest_events):
    at = [(0.1 * index, 0, 0.5, 0, 0, 0, 1) for index in range(5)]
    found, _ = ingest_events(
        PLAN,
        (OBJECT, S.item("a", CUBE, at=at[0])), (OBJECT, S.item("b", CUBE, at=at[1])), PLAN,
        (OBJECT, S.item("a", S.primitive(SPHERE, 0.1), at=at[2])), PLAN,
        (OBJECT, S.item("a", at=at[3], operation=MOVE)), PLAN,
        (OBJECT, S.item("a", CUBE, poses=[at[4]], at=at[1], operation=APPEND)), PLAN,
        (OBJECT, S.item("c", CUBE, at=at[4], operation=APPEND)), PLAN,
        (OBJECT, S.item("b", operation=REMOVE)), PLAN,
        (OBJECT, S.item("none", operation=MOVE)), (OBJECT, S.item("x", operation=REMOVE)), PLAN,
        (OBJECT, S.item("", operation=REMOVE)), PLAN,
    )  # fmt: skip
    cubes = [box(each[:3], [0.1, 0.1, 0.1]) for each in at]
    ball = sphere(at[3][:3], 0.1)
    # APPEND places shapes relative to the object's pose, as MoveIt does.
    appended = box([0.7, 0, 1.0], [0.1, 0.1, 0.1])
    expected = [
        [], [cubes[0], cubes[1]], [cubes[1], sphere(at[2][:3], 0.1)], [cubes[1], ball],
        [cubes[1], ball, appended], [cubes[1], ball, appended, cubes[4]],
        [ball, appended, cubes[4]], [ball, appended, cubes[4]], [],
    ]  # fmt: skip
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        by_place = one[np.lexsort(one.T[:3])]
        wanted = np.array(other).reshape(-1, 12)
        same(by_place, wanted[np.lexsort(wanted.T[:3])])


def test_a_full_scene_replaces_all(ingest_events):
    found, _ = ingest_events(
        (SCENE, S.scene(S.item("a", CUBE, at=THERE), S.item("b", CUBE, at=THERE))), PLAN,
        (MONITORED, S.scene(S.item("c", CUBE, at=THERE), whole=True)), PLAN,
        ("/robot/left/planning_scene", S.scene(S.item("d", CUBE, at=THERE))), PLAN,
        (MONITORED, S.scene(whole=True)), PLAN,
    )  # fmt: skip
    assert [len(rows) for rows in found] == [2, 1, 2, 0]


def test_poses_of_objects_and_of_their_shapes_are_chained(ingest_events):
    one, two = (0.1, 0.2, 0.3, 0, 0, *np.sqrt([0.5, 0.5])), (0.2, 0, 0, 0, *TURN[1:])
    found, _ = ingest_events(
        (OBJECT, S.item("humble", CUBE, CUBE, at=one, poses=[THERE, two])), PLAN,
        (OBJECT, S.item("humble", at=THERE, operation=MOVE)), PLAN,
        (OBJECT, S.item("humble", at=one, poses=[two, THERE], operation=MOVE)), PLAN,
        (OBJECT, S.item("humble", operation=REMOVE)),
        (OBJECT, S.item("old", CUBE, at=[0.0] * 7, poses=[THERE])), PLAN,
        # The pose of the only shape became the object's, as in MoveIt.
        (OBJECT, S.item("old", at=one, operation=MOVE)), PLAN,
        (OBJECT, S.item("old", CUBE, CUBE, poses=[one])), PLAN,
    )  # fmt: skip
    cube = box([0, 0, 0], [0.1, 0.1, 0.1])
    inside = [place(pose, cube) for pose in (THERE, two)]
    same(found[0], [place(one, row) for row in inside])
    same(found[1], [place(THERE, row) for row in inside])
    same(found[2], [place(one, row) for row in inside[::-1]])
    same(found[3], [place(THERE, cube)])
    same(found[4], [place(one, cube)])
    same(found[5], [place(one, cube), cube])


def test_frames_are_resolved_through_tf(ingest_events):
    camera = (0.1, 0.2, 0.3, 0, 0, *np.sqrt([0.5, 0.5]))
    found, report = ingest_events(
        (SCENE, S.scene(S.item("a", CUBE, frame="camera", at=THERE))),
        ("/tf_static", S.transforms("base_link", "camera", camera)), PLAN,
        (SCENE, S.scene(S.item("b", CUBE, frame="lost"))), PLAN,
        (SCENE, S.scene(S.item("b", operation=REMOVE, frame=""))), PLAN,
        (SCENE, S.scene(S.item("c", CUBE, frame=""))), PLAN,
    )  # fmt: skip
    expected = [place(camera, place(THERE, box([0, 0, 0], [0.1, 0.1, 0.1])))]
    assert len(found) == 2
    for rows in found:
        same(rows, expected)
    assert report["codes"] == {"OBSTACLE_FRAME_UNRESOLVED": 2}
    assert [each["value"] for each in report["rejections"]] == [
        "'b' in frame 'lost'", "'c' in frame ''",
    ]  # fmt: skip
    assert "ingest.object_frames" in report["rejections"][0]["hint"]


def test_attached_objects_are_no_obstacles_until_they_are_detached(ingest_events):
    first, second = (0, 0, 1, *TURN), (0, 0.5, 1, *TURN)
    own = S.item("tool", CUBE, frame="hand", at=THERE)
    found, report = ingest_events(
        ("/tf", S.transforms("base_link", "hand", first)),
        (SCENE, S.scene(S.item("a", CUBE, at=THERE))), PLAN,
        (ATTACHED, S.attached("hand", S.item("a", frame=""))), PLAN,
        (SCENE, S.scene(attached=[S.attached("hand", own)])), PLAN,
        ("/tf", S.transforms("base_link", "hand", second)),
        (ATTACHED, S.attached("", S.item("a", frame="", operation=REMOVE))), PLAN,
        (ATTACHED, S.attached("hand", S.item("", frame="", operation=REMOVE))), PLAN,
    )  # fmt: skip
    assert [len(rows) for rows in found] == [1, 0, 0, 1, 2]
    cube = box([0, 0, 0], [0.1, 0.1, 0.1])
    lifted = place(THERE, cube) + np.array([0, 0.5, 0, *np.zeros(9)])
    same(found[3], [lifted])
    same(found[4], [lifted, place(second, place(THERE, cube))])
    assert report["totals"]["rejected"] == 0


def test_a_detached_object_of_a_link_that_is_not_known_rejects_the_episode(ingest_events):
    found, report = ingest_events(
        (SCENE, S.scene(S.item("a", CUBE), S.item("b", CUBE))), PLAN,
        (ATTACHED, S.attached("hand", S.item("a"))), PLAN,
        (ATTACHED, S.attached("hand", S.item("a", operation=REMOVE))), PLAN,
        (MONITORED, S.scene(S.item("a", CUBE, at=THERE))), PLAN,
        (ATTACHED, S.attached("hand", S.item("a"))),
        (SCENE, S.scene(clears_attached=True)),
        (ATTACHED, S.attached("hand", S.item("a", operation=REMOVE))), PLAN,
    )  # fmt: skip
    assert [len(rows) for rows in found] == [2, 1, 2, 1]
    (rejected,) = report["rejections"]
    assert rejected["code"] == "OBSTACLE_FRAME_UNRESOLVED"
    assert rejected["value"] == "'a' in frame 'hand'"

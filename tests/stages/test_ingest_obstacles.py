"""Obstacles of MoveIt2's planning scene reach the episodes, whatever a recording holds of them."""

import json
from itertools import count

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rosbags.rosbag2 import StoragePlugin
from rosbags.typesys import Stores
from scipy.spatial.transform import RigidTransform, Rotation

from pipeline.dataset.episode_store import read_episodes
from pipeline.dataset.store import load_dataset
from pipeline.obstacles import box, cylinder, sphere
from pipeline.recordings.rosbag import messages as m
from pipeline.recordings.rosbag.writer import BagWriter
from pipeline.stages import dataset, ingest
from tests.fixtures.scenes import (
    APPEND,
    BOX,
    CONE,
    CYLINDER,
    MOVE,
    PRISM,
    REMOVE,
    SPHERE,
    SceneMessages,
)

S = SceneMessages()
SCENE, MONITORED = "/planning_scene", "/monitored_planning_scene"
OBJECT, ATTACHED = "/collision_object", "/attached_collision_object"
TYPES = {
    SCENE: m.PLANNING_SCENE, MONITORED: m.PLANNING_SCENE, OBJECT: m.COLLISION_OBJECT,
    ATTACHED: m.ATTACHED_OBJECT, "/tf": m.TF_MESSAGES[0], "/tf_static": m.TF_MESSAGES[0],
}  # fmt: skip
PLAN = "a plan"
CUBE = S.primitive(BOX, 0.1, 0.1, 0.1)
TURN = (0.0, 0.6, 0.0, 0.8)
THERE = (0.5, 0.1, 0.3, *TURN)


def motion(params, index):
    t = np.linspace(0.0, 1.2, 13)
    s = t / t[-1]
    home = np.array(params.robot.home_rad)
    reach = np.array([0.4, 0.3, -0.2, 0.1, -0.3, 0.2]) * (1 + 0.1 * index)
    return t, home + reach * (3 * s**2 - 2 * s**3)[:, None]


def rows_of(events, params, store=None):
    """Rows for `write_bag`: each event is PLAN, or a topic and its message, 0.5 s apart."""
    messages = SceneMessages(store)
    clock, plans, rows = count(10**9, 5 * 10**8), count(), []
    for event in events:
        time_ns = next(clock)
        if event is not PLAN:
            topic, message = event
            key = next(name for name in TYPES if topic.endswith(name))
            rows.append((topic, TYPES[key], time_ns, message))
            continue
        index = next(plans)
        t, position = motion(params, index)
        speed = np.gradient(position, t, axis=0)
        plan = m.typestore().deserialize_cdr(
            m.serialize_display_trajectory(
                "arm", "base_link", params.robot.joints, t, position, speed, speed * 0, position[0]
            ), m.DISPLAY_TRAJECTORY,
        )  # fmt: skip
        pose = messages.make(
            m.POSE_STAMPED,
            header=messages.header("base_link"),
            pose=messages.pose((0.4, 0.01 * index, 0.2, 0, 0, 0, 1)),
        )
        rows.append(("/pen_pose", m.POSE_STAMPED, time_ns, pose))
        rows.append(("/display_planned_path", m.DISPLAY_TRAJECTORY, time_ns, plan))
        next(clock)
    return rows


@pytest.fixture
def run(tmp_path, params):
    """Ingest a bag; returns the obstacles of each episode, and the report."""
    numbers = count()

    def run(source, **rules):
        out = tmp_path / f"out_{next(numbers)}"
        lenient = {"max_reject_fraction": 1.0, "workers": 1, **rules}
        ingest.run(params.override("ingest", **lenient), out, source)
        read = read_episodes(out / "episodes.zarr", params.robot.joints, "pen")
        return [each.obstacles for each in read], json.loads((out / "report.json").read_text())

    return run


@pytest.fixture
def ingested(run, write_bag, params):
    """Write a bag of events and ingest it."""

    def ingested(*events, **rules):
        path = write_bag(rows_of(events, params), S.store)
        return run(path, **rules)

    return ingested


def place(pose, row):
    """An obstacle of a frame with a pose, by SciPy."""
    frames = [RigidTransform.from_components(each[:3], Rotation.from_quat(each[3:7]))
              for each in (np.array(pose, float), row)]  # fmt: skip
    found = frames[0] * frames[1]
    return np.concatenate([found.translation, found.rotation.as_quat(), row[7:]])


def same(found, expected):
    """Whether rows are equal; a quaternion and its negative turn alike."""
    expected = np.array(expected, float).reshape(-1, 12)
    assert found.shape == expected.shape
    signs = np.sign((found[:, 3:7] * expected[:, 3:7]).sum(axis=1, keepdims=True))
    turned = np.concatenate([expected[:, :3], signs * expected[:, 3:7], expected[:, 7:]], axis=1)
    np.testing.assert_allclose(found, turned, atol=1e-12)


def test_every_shape_becomes_an_obstacle(ingested):
    corners = np.array([[x, y, z] for x in (0, 0.4) for y in (0, 0.2) for z in (0, 0.1)])
    turned = Rotation.from_quat(TURN).apply(corners)
    triangles = [(0, 1, 2), (3, 4, 5), (6, 7, 0)]
    (found,), report = ingested(
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


def test_objects_come_move_and_go(ingested):
    at = [(0.1 * index, 0, 0.5, 0, 0, 0, 1) for index in range(5)]
    found, _ = ingested(
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


def test_a_full_scene_replaces_all(ingested):
    found, _ = ingested(
        (SCENE, S.scene(S.item("a", CUBE, at=THERE), S.item("b", CUBE, at=THERE))), PLAN,
        (MONITORED, S.scene(S.item("c", CUBE, at=THERE), whole=True)), PLAN,
        ("/robot/left/planning_scene", S.scene(S.item("d", CUBE, at=THERE))), PLAN,
        (MONITORED, S.scene(whole=True)), PLAN,
    )  # fmt: skip
    assert [len(rows) for rows in found] == [2, 1, 2, 0]


def test_poses_of_objects_and_of_their_shapes_are_chained(ingested):
    one, two = (0.1, 0.2, 0.3, 0, 0, *np.sqrt([0.5, 0.5])), (0.2, 0, 0, 0, *TURN[1:])
    found, _ = ingested(
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


def test_frames_are_resolved_through_tf(ingested):
    camera = (0.1, 0.2, 0.3, 0, 0, *np.sqrt([0.5, 0.5]))
    found, report = ingested(
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


def test_attached_objects_are_no_obstacles_until_they_are_detached(ingested):
    first, second = (0, 0, 1, *TURN), (0, 0.5, 1, *TURN)
    own = S.item("tool", CUBE, frame="hand", at=THERE)
    found, report = ingested(
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


def test_a_detached_object_of_a_link_that_is_not_known_rejects_the_episode(ingested):
    found, report = ingested(
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


def test_what_is_no_solid_gives_a_warning(ingested):
    found, report = ingested(
        (SCENE, S.scene(S.item("floor", planes=[S.plane(0, 0, 1, 0)]), S.item("a", CUBE))), PLAN,
        (SCENE, S.scene(S.item("floor", S.primitive(PRISM, 0.1), CUBE), octomap=b"tree")), PLAN,
        (SCENE, S.scene(S.item("floor", S.primitive(9)))), PLAN,
        (SCENE, S.scene(S.item("floor", operation=REMOVE), octomap=b"")), PLAN,
    )  # fmt: skip
    assert [len(rows) for rows in found] == [1, 2, 1, 1]
    assert {each["code"] for each in report["warnings"]} == {"OBSTACLE_UNSUPPORTED"}
    assert [each["value"] for each in report["warnings"]] == [
        "plane of 'floor'",
        "octomap, prism of 'floor'",
        "octomap, primitive of type 9 of 'floor'",
    ]


@pytest.mark.parametrize(
    ("item", "value"),
    [
        (S.item("a", S.primitive(BOX, 0.1, 0.0, 0.1)), "box of dimensions [0.1, 0.0, 0.1] of 'a'"),
        (S.item("a", S.primitive(SPHERE, np.nan)), "sphere of dimensions [nan] of 'a'"),
        (S.item("a", S.primitive(CYLINDER, 0.1)), "cylinder of dimensions [0.1] of 'a'"),
        (S.item("a", CUBE, at=(np.inf, 0, 0, 0, 0, 0, 1)), "pose of 'a' that is not finite"),
        (S.item("a", CUBE, at=(0, 0, 0, 0, 0, 0, np.nan)), "pose of 'a' that is not finite"),
        (S.item("a", CUBE, poses=[THERE, THERE]), "1 shapes with 2 poses of 'a'"),
        (S.item("a", meshes=[S.mesh([[0, 0, 0]], [])]), "mesh of 1 vertices without triangles"),
        (S.item("a", meshes=[S.mesh([[0, 0, 0]], [(0, 0, 7)])]), "that names vertex 7 of 'a'"),
        (S.item("a", meshes=[S.mesh([[0, np.nan, 0]], [(0, 0, 0)])]), "a vertex that is not"),
    ],
)
def test_unusable_numbers_reject_the_episode(ingested, item, value):
    found, report = ingested(
        PLAN, (OBJECT, item), PLAN, (OBJECT, S.item("a", operation=REMOVE)), PLAN
    )
    assert [len(rows) for rows in found] == [0, 0]
    (rejected,) = report["rejections"]
    assert (rejected["code"], rejected["message"]) == ("OBSTACLE_INVALID", 1)
    assert value in rejected["value"]


def test_an_unknown_operation_is_a_message_that_cannot_be_decoded(ingested):
    found, report = ingested((OBJECT, S.item("a", CUBE, operation=7)), PLAN)
    assert len(found) == 1
    assert report["codes"] == {"DECODE_ERROR": 1}
    assert "operation 7, expected 0 to 3" in report["rejections"][0]["value"]


def test_the_object_to_grasp_and_named_objects_are_no_obstacles(ingested):
    events = [(OBJECT, S.item(name, CUBE, at=THERE)) for name in ("pen", "table", "shelf")]
    assert len(ingested(*events, PLAN)[0][0]) == 2


def test_parameters_choose_objects_and_topics(write_bag, run, params):
    events = [(OBJECT, S.item(name, CUBE, at=THERE)) for name in ("pen", "table", "shelf")]
    path = write_bag(rows_of([*events, PLAN], params), S.store)
    for rules, number in (
        ({"obstacle_ignore": ("pen", "table")}, 1),
        ({"obstacle_ignore": ()}, 3),
        ({"obstacles": False}, 0),
        ({"scene_topics": ("world/objects",), "discover_topics": False}, 0),
        ({"scene_topics": ("world/objects",)}, 2),
    ):
        (rows,), report = run(path, **rules)
        assert len(rows) == number, rules
        assert ("obstacles" in report) == (number > 0)


@pytest.mark.parametrize("distribution", [Stores.ROS2_HUMBLE, Stores.ROS2_FOXY])
def test_a_bag_without_definitions_is_read(write_bag, edit_bag, run, params, distribution):
    store = m.typestore(distribution)
    messages = SceneMessages(store)
    cube = messages.primitive(BOX, 0.1, 0.1, 0.1)
    item = messages.item("a", cube, at=THERE)
    tool = messages.attached("hand", messages.item("b", cube))
    events = [(SCENE, messages.scene(item)), (OBJECT, messages.item("b", cube)),
              (ATTACHED, tool), PLAN]  # fmt: skip
    rows = rows_of(events, params, store)
    path = write_bag(rows, store, storage=StoragePlugin.SQLITE3)
    edit_bag(path, "DELETE FROM message_definitions", "UPDATE schema SET schema_version = 3")
    (found,), report = run(path)
    same(found, [place(THERE, box([0, 0, 0], [0.1, 0.1, 0.1]))])
    assert report["totals"]["rejected"] == 0


def test_a_salvaged_bag_keeps_its_obstacles(write_bag, run, params):
    events = [(SCENE, S.scene(S.item("a", CUBE, at=THERE))), *[PLAN] * 12]
    path = write_bag(rows_of(events, params), S.store)
    file = next(path.glob("*.mcap"))
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * 0.6)])
    found, report = run(path, salvage=True, allow_bad_files=True)
    assert found and all(len(rows) == 1 for rows in found)
    assert report["codes"]["SALVAGED"] == len(found)


def test_a_motion_of_joint_states_has_the_obstacles_of_its_start(tmp_path, run, params):
    with BagWriter(tmp_path / "bag", "mcap") as bag:
        for index in range(3):
            start_ns = (index + 1) * 10 * 10**9
            rows = np.array([sphere([i, 0, 0], 0.1) for i in range(index)]).reshape(-1, 12)
            bag.planning_scene(start_ns - 10**8, rows, "base_link")
            bag.object_pose(start_ns, "base_link", np.ones(3), np.array([0.0, 0, 0, 1]))
            t, position = motion(params, index)
            for at in np.arange(0, 1.2, 0.02):
                now = np.array([np.interp(at, t, column) for column in position.T])
                time_ns = start_ns + round(at * 1e9)
                bag.joint_state(time_ns, params.robot.joints, now, now * 0)
            # While the arm moves, and after it: too late for this motion.
            bag.planning_scene(start_ns + 10**9, rows[:0], "base_link")
    found, _ = run(tmp_path / "bag")
    assert [len(rows) for rows in found] == [0, 1, 2]


def test_the_cache_knows_obstacles_and_their_parameters(tmp_path, write_bag, params, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "repository"))
    events = [(OBJECT, S.item("a", CUBE, at=THERE)), PLAN, (OBJECT, S.item("b", CUBE)), PLAN]
    path = write_bag(rows_of(events, params), S.store)
    for number, (rules, expected) in enumerate(
        [({}, [1, 2]), ({}, [1, 2]), ({"obstacle_ignore": ("a",)}, [0, 1]), ({}, [1, 2])]
    ):
        out = tmp_path / str(number)
        ingest.run(params.override("ingest", cache_gb=1.0, workers=1, **rules), out, path)
        read = list(read_episodes(out / "episodes.zarr", params.robot.joints, "pen"))
        assert [len(each.obstacles) for each in read] == expected
    assert len(list((tmp_path / "repository/.state/ingest").iterdir())) == 2
    reports = [(tmp_path / str(number) / "report.json").read_bytes() for number in (0, 1, 3)]
    assert reports[0] == reports[1] == reports[2]


number = st.floats(-2, 2, allow_subnormal=False)
size = st.floats(1e-3, 2)
turn = (
    st.tuples(*[st.floats(-1, 1)] * 4)
    .map(np.array)
    .filter(lambda q: np.linalg.norm(q) > 1e-2)
    .map(lambda q: q / np.linalg.norm(q))
)
place_m = st.tuples(number, number, number)
obstacle = st.one_of(
    st.builds(box, place_m, st.tuples(size, size, size), turn),
    st.builds(cylinder, place_m, size, size, turn),
    st.builds(sphere, place_m, size),
)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    arrangements=st.lists(st.lists(obstacle, max_size=4), min_size=1, max_size=4),
    storage=st.sampled_from(["mcap", "sqlite3"]),
)
def test_arrangements_survive_from_the_bag_to_the_data_set(
    tmp_path_factory, params, arrangements, storage
):
    folder = tmp_path_factory.mktemp("arrangements")
    rows = [np.array(each, float).reshape(-1, 12) for each in arrangements]
    with BagWriter(folder / "bag", storage) as bag:
        for index, obstacles in enumerate(rows):
            time_ns = (index + 1) * 10**10
            t, position = motion(params, index)
            speed = np.gradient(position, t, axis=0)
            bag.planning_scene(time_ns - 10**8, obstacles, "base_link")
            bag.object_pose(time_ns, "base_link", np.ones(3), np.array([0.0, 0, 0, 1]))
            bag.plan(time_ns + 1, params.robot.joints, t, position, speed, speed * 0, position[0])
    quick = params.override("ingest", workers=1)
    quick = quick.override("dataset", val_fraction=0.0, test_fraction=0.0)
    ingest.run(quick, folder / "ingest", folder / "bag")
    read = list(read_episodes(folder / "ingest/episodes.zarr", params.robot.joints, "pen"))
    dataset.run(quick, folder / "dataset", folder / "ingest/episodes.zarr")
    made = load_dataset(folder / "dataset/pen_grasp.zarr")
    assert made.max_obstacles == max(map(len, rows))
    for index, expected in enumerate(rows):
        np.testing.assert_allclose(read[index].obstacles, expected, atol=1e-9)
        np.testing.assert_array_equal(
            made.obstacles(index), read[index].obstacles.astype(np.float32)
        )

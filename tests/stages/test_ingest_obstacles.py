"""Obstacles reach the episodes, whatever a recording holds of them and however it is stored."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rosbags.rosbag2 import StoragePlugin
from rosbags.typesys import Stores

from pipeline.dataset.episode_store import read_episodes
from pipeline.dataset.store import load_dataset
from pipeline.obstacles import box, cylinder, sphere
from pipeline.recordings.rosbag import messages as m
from pipeline.recordings.rosbag.writer import BagWriter
from pipeline.stages import dataset, ingest
from tests.fixtures.scenes import (
    ATTACHED,
    BOX,
    CUBE,
    CYLINDER,
    OBJECT,
    PLAN,
    PRISM,
    REMOVE,
    SCENE,
    SPHERE,
    THERE,
    S,
    SceneMessages,
    motion,
    place,
    rows_of,
    same,
)


def test_what_is_no_solid_gives_a_warning(ingest_events):
    found, report = ingest_events(
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
def test_unusable_numbers_reject_the_episode(ingest_events, item, value):
    found, report = ingest_events(
        PLAN, (OBJECT, item), PLAN, (OBJECT, S.item("a", operation=REMOVE)), PLAN
    )
    assert [len(rows) for rows in found] == [0, 0]
    (rejected,) = report["rejections"]
    assert (rejected["code"], rejected["message"]) == ("OBSTACLE_INVALID", 1)
    assert value in rejected["value"]


def test_an_unknown_operation_is_a_message_that_cannot_be_decoded(ingest_events):
    found, report = ingest_events((OBJECT, S.item("a", CUBE, operation=7)), PLAN)
    assert len(found) == 1
    assert report["codes"] == {"DECODE_ERROR": 1}
    assert "operation 7, expected 0 to 3" in report["rejections"][0]["value"]


def test_the_object_to_grasp_and_named_objects_are_no_obstacles(ingest_events):
    events = [(OBJECT, S.item(name, CUBE, at=THERE)) for name in ("pen", "table", "shelf")]
    assert len(ingest_events(*events, PLAN)[0][0]) == 2


def test_parameters_choose_objects_and_topics(write_bag, ingest_bag, params):
    events = [(OBJECT, S.item(name, CUBE, at=THERE)) for name in ("pen", "table", "shelf")]
    path = write_bag(rows_of([*events, PLAN], params), S.store)
    for rules, number in (
        ({"obstacle_ignore": ("pen", "table")}, 1),
        ({"obstacle_ignore": ()}, 3),
        ({"obstacles": False}, 0),
        ({"scene_topics": ("world/objects",), "discover_topics": False}, 0),
        ({"scene_topics": ("world/objects",)}, 2),
    ):
        (rows,), report = ingest_bag(path, **rules)
        assert len(rows) == number, rules
        assert ("obstacles" in report) == (number > 0)


@pytest.mark.parametrize("distribution", [Stores.ROS2_HUMBLE, Stores.ROS2_FOXY])
def test_a_bag_without_definitions_is_read(write_bag, edit_bag, ingest_bag, params, distribution):
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
    (found,), report = ingest_bag(path)
    same(found, [place(THERE, box([0, 0, 0], [0.1, 0.1, 0.1]))])
    assert report["totals"]["rejected"] == 0


def test_a_salvaged_bag_keeps_its_obstacles(write_bag, ingest_bag, params):
    events = [(SCENE, S.scene(S.item("a", CUBE, at=THERE))), *[PLAN] * 12]
    path = write_bag(rows_of(events, params), S.store)
    file = next(path.glob("*.mcap"))
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * 0.6)])
    found, report = ingest_bag(path, salvage=True, allow_bad_files=True)
    assert found and all(len(rows) == 1 for rows in found)
    assert report["codes"]["SALVAGED"] == len(found)


def test_a_motion_of_joint_states_has_the_obstacles_of_its_start(tmp_path, ingest_bag, params):
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
    found, _ = ingest_bag(tmp_path / "bag")
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

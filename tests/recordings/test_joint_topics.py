"""A recording that holds the arm's joints twice gives each demonstration once and says so."""

import numpy as np
import pytest

from pipeline.recordings.joint_topics import read_topics
from pipeline.recordings.rosbag.reader import open_bag
from pipeline.recordings.rosbag.writer import BagWriter
from pipeline.recordings.sources import read_candidates

JOINTS = tuple(f"joint_{index}" for index in range(1, 7))


def record(path, relays, plans=0):
    """Two motions of 20 samples on each topic; relays add a delay in ns and may skip samples."""
    position = np.linspace(0, 0.4, 20)[:, None] * np.ones(6)
    with BagWriter(path, "mcap") as writer:
        for motion in range(2):
            base = (1 + 10 * motion) * 10**9
            writer.object_pose(base, "base_link", np.ones(3), np.array([0.0, 0.0, 0.0, 1.0]))
            if plans:
                t = np.arange(20) * 0.05
                writer.plan(base, JOINTS, t, position, position, position, position[0])
            for topic, (names, delay_ns, every) in relays.items():
                for index in range(0, 20, every):
                    row = np.resize(position[index], len(names))
                    time_ns = base + index * 50_000_000 + delay_ns
                    writer.joint_state(time_ns, names, row, np.zeros(len(names)), topic)
    return path


def candidates(path, params, **rules):
    return list(read_candidates(path, params.override("ingest", **rules)))


def uses(path, params):
    with open_bag(path) as bag:
        return {use.topic: use for use in read_topics(bag, params).uses}


def test_joints_that_a_relay_repeats_give_each_demonstration_once(tmp_path, params, caplog):
    topics = {"/joint_states": (JOINTS, 0, 1), "/ns/joint_states": (JOINTS, 3_000_000, 1)}
    path = record(tmp_path / "bag", topics)
    found = candidates(path, params)
    assert [each.plan.topic for each in found] == ["/joint_states", "/joint_states"]
    (line,) = caplog.messages
    assert line == (
        f"{path}: /ns/joint_states is not read: /joint_states names the same joints; to read this "
        "one, set ingest.joint_topic"
    )
    found = candidates(path, params, joint_topic="ns/joint_states")
    assert [each.plan.topic for each in found] == ["/ns/joint_states", "/ns/joint_states"]


def test_an_execution_is_read_from_one_topic(tmp_path, params):
    topics = {"/joint_states": (JOINTS, 0, 1), "/ns/joint_states": (JOINTS, 3_000_000, 1)}
    found = candidates(record(tmp_path / "bag", topics, plans=1), params)
    assert [len(each.execution.t) for each in found] == [20, 20]


def test_of_two_names_in_namespaces_the_one_with_the_most_messages_is_read(tmp_path, params):
    topics = {"/a/joint_states": (JOINTS, 0, 4), "/b/joint_states": (JOINTS, 3_000_000, 1)}
    found = uses(record(tmp_path / "bag", topics), params)
    assert (found["/a/joint_states"].role, found["/b/joint_states"].role) == (None, "joints")
    assert found["/a/joint_states"].repeats == "/b/joint_states"


@pytest.mark.parametrize("names", [("finger",), tuple(f"right_{name}" for name in JOINTS)])
def test_joints_of_another_device_are_not_chosen_and_not_named(tmp_path, params, caplog, names):
    topics = {"/joint_states": (names, 0, 1), "/arm/joint_states": (JOINTS, 1_000_000, 4)}
    prefix = params.override("ingest", joint_prefix="")
    path = record(tmp_path / "bag", topics)
    assert uses(path, prefix)["/joint_states"].note == (
        "not read: does not name all of the arm's joints"
    )
    assert [each.plan.topic for each in candidates(path, prefix)] == ["/arm/joint_states"] * 2
    assert caplog.messages == []


def test_topics_none_of_which_names_the_arm_are_all_reported(tmp_path, params):
    topics = {"/joint_states": (("finger",), 0, 1), "/b/joint_states": (("wheel",), 1, 1)}
    found = candidates(record(tmp_path / "bag", topics), params)
    assert [each.code for each in found] == ["JOINT_MISSING"] * 2
    assert [each.topic for each in found] == ["/joint_states", "/b/joint_states"]

"""What is recorded, by which definition, and how it is subscribed to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("cyclonedds", reason="the extra ros2 is not installed")

from pipeline.recordings.rosbag.definitions import bundled_stores
from pipeline.recordings.rosbag.messages import (
    CONTROLLER_STATE,
    JOINT_STATE,
    MARKS,
    POSE_STAMPED,
    typestore,
)
from pipeline.recordings.rosbag.reader import open_bag
from pipeline.recordings.topics import TYPES
from pipeline.ros2.bag import RecordedBag, RecordError
from pipeline.ros2.names import TopicNameError
from pipeline.ros2.network import SENSOR_DATA, Network, Reach
from pipeline.ros2.participant import Participant
from pipeline.ros2.recorder import RECORDED_TYPES, Recorder
from tests.fixtures.ros2 import joint_state, pose, wait_until

RELIABLE = Reach(reliable=True, transient_local=False)
LATCHED = Reach(reliable=True, transient_local=True)
JOINTS = [joint_state(["a"], [number], 7) for number in range(9)]


@pytest.fixture
def participant(network: Network) -> Iterator[Participant]:
    with Participant(network) as joined:
        yield joined


def recorder(participant, out, topics=(), msg_path=None):
    told: list[str] = []
    bag = RecordedBag(out)
    return Recorder(participant, bag, topics, msg_path, told.append), bag, told


def advertise(participant, topic, msgtype=JOINT_STATE, reach=RELIABLE, store=None):
    return participant.advertise(topic, msgtype, store or typestore(), reach, 10)


def record(made: Recorder, has_enough) -> None:
    """Record until there is enough."""

    def recorded() -> bool:
        made.find_topics()
        made.write_messages()
        return has_enough()

    wait_until(recorded, "messages")


def messages(out: Path) -> dict[str, list[bytes]]:
    with open_bag(out) as bag:
        found: dict[str, list[bytes]] = {topic.topic: [] for topic in bag.topics}
        for (topic, _), _, raw in bag.messages([topic.key for topic in bag.topics]):
            found[topic].append(raw)
    return found


def test_what_ingest_reads_is_recorded_except_marks() -> None:
    read = {msgtype for role, types in TYPES.items() if role != "marks" for msgtype in types}
    assert read == RECORDED_TYPES and not RECORDED_TYPES & set(MARKS)


def test_topics_are_found_by_type_or_by_name(participant: Participant, tmp_path: Path) -> None:
    made, bag, told = recorder(participant, tmp_path / "all")
    named, other, told_named = recorder(participant, tmp_path / "one", ["marks", "/pen_pose"])
    marks = advertise(participant, "/marks", MARKS[2])
    joints, place = (
        advertise(participant, "/joint_states"),
        advertise(participant, "/pen_pose", POSE_STAMPED, SENSOR_DATA),
    )
    with bag, other:
        publications = participant.discover()
        for each in (made, named):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(participant, "discover", lambda: publications)
                each.find_topics()
        wait_until(lambda: joints.subscribers == 1 and place.subscribers == 2, "both recorders")
        wait_until(lambda: marks.subscribers == 1, "the named topic")
        assert sorted(told) == ["recording /joint_states (sensor_msgs/msg/JointState)",
                                "recording /pen_pose (geometry_msgs/msg/PoseStamped)"]  # fmt: skip
        assert len(told_named) == 2
        sent = pose([1, 2, 3])
        joints.write(JOINTS[0])
        place.write(sent)
        wait_until(lambda: made.write_messages() or bag.messages == 2, "both messages")
        wait_until(lambda: named.write_messages() or other.messages == 1, "the pose")
    assert messages(tmp_path / "all") == {"/joint_states": [JOINTS[0]], "/pen_pose": [sent]}
    assert messages(tmp_path / "one") == {"/pen_pose": [sent], "/marks": []}


def test_a_publisher_that_offers_less_is_heard_too(
    participant: Participant, tmp_path: Path
) -> None:
    made, bag, _ = recorder(participant, tmp_path / "bag")
    with bag:
        first = advertise(participant, "/joint_states", reach=LATCHED)
        first.write(JOINTS[0])
        record(made, lambda: bag.messages == 1)  # kept for late subscribers
        second = advertise(participant, "/joint_states", reach=SENSOR_DATA)
        record(made, lambda: first.subscribers == 1 and second.subscribers == 1)
        first.write(JOINTS[1])
        second.write(JOINTS[2])
        record(made, lambda: bag.messages == 3)
        assert made.summary() == ["/joint_states (sensor_msgs/msg/JointState): 3 messages"]
    assert messages(tmp_path / "bag")["/joint_states"][0] == JOINTS[0]


@pytest.mark.parametrize("index", range(len(bundled_stores(CONTROLLER_STATE))))
def test_the_definition_is_the_publisher_s(
    index: int, participant: Participant, tmp_path: Path
) -> None:
    """Controllers' states differ between distributions; publishers name the hash of theirs."""
    store = bundled_stores(CONTROLLER_STATE)[index]
    made, bag, told = recorder(participant, tmp_path / "bag")
    with bag:
        sends = [
            advertise(participant, "/state", CONTROLLER_STATE, store=store),
            advertise(participant, "/joint_states"),
        ]
        record(made, lambda: all(send.subscribers for send in sends))
        sends[1].write(JOINTS[0])
        record(made, lambda: bag.messages == 1)
    assert len(told) == 2
    with open_bag(tmp_path / "bag") as read:
        texts = {topic.topic: topic.definition.data for topic in read.topics if topic.definition}
    assert texts["/state"] == store.generate_msgdef(CONTROLLER_STATE, ros_version=2)[0]


def test_another_definition_is_told(participant: Participant, tmp_path: Path) -> None:
    """A publisher whose definition is not known is recorded all the same."""
    made, bag, told = recorder(participant, tmp_path / "bag")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typestore(), "hash_rihs01", lambda _: "RIHS01_" + "0" * 64)
        sent = advertise(participant, "/joint_states")
    with bag:
        record(made, lambda: sent.subscribers)
        sent.write(JOINTS[0])
        record(made, lambda: bag.messages == 1)
    assert "its publisher has another definition of sensor_msgs/msg/JointState" in told[1]


def test_a_type_that_is_not_known_needs_its_definition(
    participant: Participant, tmp_path: Path
) -> None:
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    store = get_typestore(Stores.ROS2_HUMBLE)
    store.register(get_types_from_msg("float64 force\n", "my_msgs/msg/Grip"))
    folder = tmp_path / "my_msgs/msg"
    folder.mkdir(parents=True)
    (folder / "Grip.msg").write_text("float64 force\n")
    sent = advertise(participant, "/grip", "my_msgs/msg/Grip", store=store)
    made, bag, told = recorder(participant, tmp_path / "a", ["/grip"])
    with pytest.raises(RecordError, match="no message came"), bag:
        record(made, lambda: told)
        assert "not recorded: /grip" in told[0] and "--msg-path" in told[0]
        assert not sent.subscribers
    made, bag, told = recorder(participant, tmp_path / "b", ["/grip"], tmp_path / "my_msgs")
    with bag:
        found = advertise(participant, "/grip", "my_msgs/msg/Grip", store=store)
        record(made, lambda: found.subscribers)
        found.write(b"\0\1\0\0" + bytes(8))
        record(made, lambda: bag.messages == 1)
    assert messages(tmp_path / "b") == {"/grip": [b"\0\1\0\0" + bytes(8)]}


def test_names_are_checked_first(participant: Participant, tmp_path: Path) -> None:
    with pytest.raises(TopicNameError), RecordedBag(tmp_path / "b") as bag:
        Recorder(participant, bag, ["no topic"], None, print)

"""A recording appears when it is complete, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pipeline.recordings.rosbag.messages import JOINT_STATE, typestore
from pipeline.recordings.rosbag.reader import open_bag
from pipeline.ros2.bag import RecordedBag, RecordError
from pipeline.ros2.network import Publication, Reach
from tests.fixtures.ros2 import joint_state

JOINTS = Publication("/joint_states", JOINT_STATE, Reach(False, True), 2**63 - 1, 5, "")
RAW = [joint_state(["a"], [number], 7) for number in range(3)]


def write(bag: RecordedBag) -> None:
    topic = bag.add_topic(JOINTS, typestore())
    for number, data in enumerate(RAW):
        bag.write(topic, 1000 + number, data)


def test_it_holds_the_bytes_their_times_and_the_definition(tmp_path: Path) -> None:
    out = tmp_path / "session_1"
    with RecordedBag(out) as bag:
        write(bag)
        assert not out.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["session_1"]
    assert sorted(path.name for path in out.iterdir()) == ["metadata.yaml", "session_1.mcap"]
    with open_bag(out) as read:
        (topic,) = read.topics
        assert (topic.topic, topic.msgtype, topic.encoding) == ("/joint_states", JOINT_STATE, "cdr")
        assert topic.definition is not None and "float64[] position" in topic.definition.data
        kept = [(time_ns, raw) for _, time_ns, raw in read.messages([topic.key])]
    assert kept == [(1000 + number, data) for number, data in enumerate(RAW)]
    described = yaml.safe_load((out / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert described["relative_file_paths"] == ["session_1.mcap"]
    assert described["message_count"] == 3


def test_the_offered_quality_is_written(tmp_path: Path) -> None:
    with RecordedBag(tmp_path / "bag") as bag:
        write(bag)
    text = (tmp_path / "bag/metadata.yaml").read_text()
    (topic,) = yaml.safe_load(text)["rosbag2_bagfile_information"]["topics_with_message_count"]
    (offered,) = yaml.safe_load(topic["topic_metadata"]["offered_qos_profiles"])
    assert (offered["reliability"], offered["durability"], offered["history"]) == (2, 1, 3)
    assert offered["lifespan"] == {"sec": 0, "nsec": 5}
    assert offered["deadline"] == {"sec": 9223372036, "nsec": 854775807}


def test_an_error_keeps_what_was_recorded(tmp_path: Path) -> None:
    with pytest.raises(KeyError), RecordedBag(tmp_path / "bag") as bag:
        write(bag)
        raise KeyError("x")
    with open_bag(tmp_path / "bag") as read:
        assert read.topics[0].messages == 3


def test_nothing_recorded_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no message came"), RecordedBag(tmp_path / "bag"):
        pass
    with pytest.raises(KeyError), RecordedBag(tmp_path / "bag"):
        raise KeyError("x")
    assert list(tmp_path.iterdir()) == []


def test_no_recording_is_replaced(tmp_path: Path) -> None:
    out = tmp_path / "bag"
    with RecordedBag(out) as bag:
        write(bag)
        with pytest.raises(RecordError, match="another run is writing it, or was killed"):
            RecordedBag(out)
    with pytest.raises(RecordError, match="exists already"):
        RecordedBag(out)


def test_a_place_that_was_taken_meanwhile_loses_nothing(tmp_path: Path) -> None:
    out = tmp_path / "bag"
    with pytest.raises(RecordError, match="exists by now"), RecordedBag(out) as bag:
        write(bag)
        out.mkdir()
    with open_bag(tmp_path / ".bag.partial/bag") as read:
        assert read.topics[0].messages == 3

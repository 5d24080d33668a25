"""Bytes go from one participant to another, over loopback."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("cyclonedds", reason="the extra ros2 is not installed")

from pipeline.recordings.rosbag.messages import JOINT_STATE, POSE_STAMPED, typestore
from pipeline.ros2.names import TopicNameError
from pipeline.ros2.network import SENSOR_DATA, Network, Reach
from pipeline.ros2.participant import Participant
from tests.conftest import HANG_S
from tests.fixtures.ros2 import joint_state, pose, wait_until

RELIABLE = Reach(reliable=True, transient_local=False)
LATCHED = Reach(reliable=True, transient_local=True)
SENT = [joint_state(["a", "b"], [0.1, number]) for number in range(5)]
PUBLISH = """
import sys
from pipeline.recordings.rosbag.messages import JOINT_STATE, typestore
from pipeline.ros2.network import Network, Reach
from pipeline.ros2.participant import Participant
with Participant(Network(int(sys.argv[1]), True)) as participant:
    publisher = participant.advertise(
        "/joint_states", JOINT_STATE, typestore(), Reach(True, sys.argv[2] == "latched"), 10)
    for line in sys.stdin:
        publisher.write(bytes.fromhex(line))
"""


def publishing(network: Network, reach: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PUBLISH, str(network.domain_id), reach],
        stdin=subprocess.PIPE, text=True,
    )  # fmt: skip


def collect(participant, subscription, number):
    came = []

    def enough():
        participant.wait(0.1)
        came.extend(subscription.take())
        return len(came) >= number

    wait_until(enough, f"{number} messages")
    return came


def test_another_process_s_messages_come_byte_for_byte(network: Network) -> None:
    with Participant(network) as participant, publishing(network, "plain") as child:
        try:
            heard = participant.subscribe("/joint_states", JOINT_STATE, typestore(), RELIABLE, None)
            wait_until(lambda: heard.publishers, "the publisher")
            found = participant.discover()
            assert [(each.topic, each.msgtype, each.reach) for each in found] == [
                ("/joint_states", JOINT_STATE, RELIABLE)
            ]
            assert found[0].type_hash == typestore().hash_rihs01(JOINT_STATE)
            # Both have matched only when the publisher knows of the subscription too: it is told
            # again and again, and what came twice counts once.
            assert child.stdin is not None
            came: list[bytes] = []
            while len(set(came)) < len(SENT):
                for data in SENT:
                    print(data.hex(), file=child.stdin, flush=True)
                came += [sample.data for sample in collect(participant, heard, 1)]
            assert set(came) == set(SENT)
            assert heard.lost == 0
            child.stdin.close()
            assert child.wait(HANG_S) == 0
            # That the publisher has gone comes as a sample without data.
            went = heard.condition
            wait_until(lambda: not heard.publishers and went.triggered, "the publisher's end")
            assert {sample.data for sample in heard.take()} <= set(SENT)
            assert participant.discover() == []
        finally:
            child.kill()


def test_late_subscribers_get_what_is_kept_for_them(network: Network) -> None:
    with Participant(network) as participant, publishing(network, "latched") as child:
        try:
            assert child.stdin is not None
            for data in SENT:
                print(data.hex(), file=child.stdin, flush=True)
            found = []
            wait_until(lambda: found.extend(participant.discover()) or found, "the publication")
            assert found[0].reach == LATCHED
            late = participant.subscribe("/joint_states", JOINT_STATE, typestore(), LATCHED, None)
            came = collect(participant, late, len(SENT))
            assert [sample.data for sample in came] == SENT
            times = [sample.source_time_ns for sample in came]
            assert times == sorted(times) and times[0] > 10**18
        finally:
            child.kill()


def test_types_and_reach_must_fit(network: Network) -> None:
    with Participant(network) as participant:
        store = typestore()
        sent = participant.advertise("/x", POSE_STAMPED, store, SENSOR_DATA, 1)
        fits = participant.subscribe("/x", POSE_STAMPED, store, SENSOR_DATA, 1)
        strict = participant.subscribe("/x", POSE_STAMPED, store, RELIABLE, 1)
        other = participant.subscribe("/x", JOINT_STATE, store, SENSOR_DATA, 1)
        wait_until(lambda: sent.subscribers and fits.publishers, "the match")
        assert (fits.publishers, strict.publishers, other.publishers) == (1, 0, 0)
        participant.unsubscribe(strict)
        data = pose([1, 2, 3])
        sent.write(data)
        assert [sample.data for sample in collect(participant, fits, 1)] == [data]


def test_a_name_that_is_none_is_refused(network: Network) -> None:
    with Participant(network) as participant, pytest.raises(TopicNameError):
        participant.subscribe("no topic", JOINT_STATE, typestore(), SENSOR_DATA, 1)

"""Topics of ROS 2 through Cyclone DDS: messages as bytes in and out, and who publishes what.

Owns everything of Cyclone's; knows nothing about policies or recordings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Self

from cyclonedds.builtin import BuiltinDataReader, BuiltinTopicDcpsPublication
from cyclonedds.core import (
    DDSException,
    InstanceState,
    ReadCondition,
    SampleState,
    ViewState,
    WaitSet,
)
from cyclonedds.domain import Domain, DomainParticipant
from cyclonedds.pub import DataWriter
from cyclonedds.qos import Policy, Qos
from cyclonedds.sub import DataReader
from cyclonedds.topic import Topic
from rosbags.typesys.store import Typestore

from pipeline.ros2.dds_types import make_message_class
from pipeline.ros2.names import dds_topic, ros_topic, ros_type
from pipeline.ros2.network import DdsError, Network, Publication, Reach, Sample

# Traffic on loopback only, where there is no multicast: participants look for each other by port.
_LOCALHOST = """<CycloneDDS><Domain>
<General><Interfaces><NetworkInterface address="127.0.0.1"/></Interfaces>
<AllowMulticast>false</AllowMulticast></General>
<Discovery><ParticipantIndex>auto</ParticipantIndex>
<MaxAutoParticipantIndex>32</MaxAutoParticipantIndex>
<Peers><Peer address="localhost"/></Peers></Discovery>
</Domain></CycloneDDS>"""
_TYPE_HASH = re.compile(rb"typehash=(RIHS01_[0-9a-f]{64});")
_ANY = ViewState.Any | InstanceState.Any | SampleState.Any
_BATCH = 64
# ROS 2's layout of messages is the first version of XCDR; Cyclone would offer both.
_XCDR1 = Policy.DataRepresentation(use_cdrv0_representation=True, use_xcdrv2_representation=False)
_SAME_LAYOUT = Policy.TypeConsistency.AllowTypeCoercion(ignore_member_names=True)


class Subscription:
    """The messages of one topic."""

    def __init__(self, reader: DataReader[Any]) -> None:
        """Wrap a reader.

        Args:
            reader: of a class of `make_message_class`.
        """
        self._reader = reader
        self.condition = ReadCondition(reader, _ANY)

    def take(self) -> Iterator[Sample]:
        """Messages that came since the last call, in order."""
        while True:
            taken = self._reader.take(_BATCH)
            for sample in taken:
                info = sample.sample_info
                if info.valid_data:  # else it only says that a publisher has gone
                    yield Sample(sample.data, int(info.source_timestamp))
            if len(taken) < _BATCH:
                return

    @property
    def lost(self) -> int:
        """Messages that were published and never came."""
        return int(self._reader.get_sample_lost_status().total_count)

    @property
    def publishers(self) -> int:
        """Publishers that are connected now."""
        return len(self._reader.get_matched_publications())


class Publisher:
    """Sends messages to one topic."""

    def __init__(self, writer: DataWriter[Any], message: type[Any]) -> None:
        """Wrap a writer.

        Args:
            writer: of that class.
            message: class of `make_message_class`.
        """
        self._writer, self._message = writer, message

    def write(self, data: bytes) -> None:
        """Send a message.

        Args:
            data: CDR with its header.

        Raises:
            DdsError: Cyclone refuses it.
        """
        try:
            self._writer.write(self._message(data))
        except DDSException as error:
            raise DdsError(f"a message cannot be sent: {error}") from error

    def wait_until_received(self, timeout_s: float) -> bool:
        """Wait until reliable subscribers have confirmed every message, and say whether they have.

        Args:
            timeout_s: maximum time, s.
        """
        return bool(self._writer.wait_for_acks(round(timeout_s * 1e9)))

    @property
    def subscribers(self) -> int:
        """Subscribers that are connected now."""
        return len(self._writer.get_matched_subscriptions())


class Participant:
    """A member of a DDS domain, visible to ROS 2 as a program without a node's name."""

    def __init__(self, network: Network) -> None:
        """Join the domain.

        Args:
            network: the domain. With `localhost_only`, CYCLONEDDS_URI is not read.

        Raises:
            DdsError: the domain cannot be joined.
        """
        try:
            # The domain lives as long as this object.
            self._domain = Domain(network.domain_id, _LOCALHOST) if network.localhost_only else None
            self._participant = DomainParticipant(network.domain_id)
            self._waitset = WaitSet(self._participant)
        except DDSException as error:
            raise DdsError(
                f"DDS domain {network.domain_id} cannot be joined ({error}); check the network "
                "interfaces, and CYCLONEDDS_URI if it is set"
            ) from error
        self._discovery: ReadCondition | None = None
        self._subscriptions: list[Subscription] = []

    def __enter__(self) -> Self:
        """Nothing more to do."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the domain."""
        for subscription in list(self._subscriptions):
            self.unsubscribe(subscription)
        if self._discovery is not None:
            self._waitset.detach(self._discovery)
        del self._waitset, self._discovery, self._participant, self._domain

    def subscribe(
        self, topic: str, msgtype: str, store: Typestore, reach: Reach, depth: int | None
    ) -> Subscription:
        """Begin to receive a topic.

        Args:
            topic: name in ROS 2.
            msgtype: type in ROS 2.
            store: its definition.
            reach: what a publisher must offer at least.
            depth: messages kept until they are taken; None for all.

        Raises:
            DdsError: Cyclone refuses, for instance because the topic has another type here.
        """
        history = Policy.History.KeepAll if depth is None else Policy.History.KeepLast(depth)
        made = make_message_class(store, msgtype)
        try:
            reader: DataReader[Any] = DataReader(
                self._participant, Topic(self._participant, dds_topic(topic), made),
                Qos(*_policies(reach), history, _XCDR1, _SAME_LAYOUT),
            )  # fmt: skip
            subscription = Subscription(reader)
            self._waitset.attach(subscription.condition)
        except DDSException as error:
            raise DdsError(f"{topic} ({msgtype}) cannot be subscribed to: {error}") from error
        self._subscriptions.append(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Receive a topic no longer.

        Args:
            subscription: of this participant.
        """
        self._waitset.detach(subscription.condition)
        self._subscriptions.remove(subscription)

    def advertise(
        self, topic: str, msgtype: str, store: Typestore, reach: Reach, depth: int
    ) -> Publisher:
        """Offer a topic.

        Args:
            topic: name in ROS 2.
            msgtype: type in ROS 2.
            store: its definition.
            reach: what is offered.
            depth: messages kept for readers that have not confirmed them.

        Raises:
            DdsError: Cyclone refuses.
        """
        made = make_message_class(store, msgtype)
        type_hash = Policy.Userdata(data=f"typehash={store.hash_rihs01(msgtype)};".encode())
        history = Policy.History.KeepLast(depth)
        qos = Qos(
            *_policies(reach), history, _XCDR1, type_hash,
            Policy.DurabilityService(0, history, -1, -1, -1),  # what late readers get
            Policy.WriterDataLifecycle(autodispose=False),
        )  # fmt: skip
        try:
            joined = Topic(self._participant, dds_topic(topic), made)
            return Publisher(DataWriter(self._participant, joined, qos), made)
        except DDSException as error:
            raise DdsError(f"{topic} ({msgtype}) cannot be published: {error}") from error

    def wait(self, timeout_s: float) -> None:
        """Wait until a message or a publication comes.

        Args:
            timeout_s: maximum time, s.
        """
        self._waitset.wait(max(0, round(timeout_s * 1e9)))

    def discover(self) -> list[Publication]:
        """Publications of ROS 2 that appeared since the last call; the first starts to look."""
        if self._discovery is None:
            reader = BuiltinDataReader(self._participant, BuiltinTopicDcpsPublication)
            self._discovery = ReadCondition(reader, _ANY)
            self._waitset.attach(self._discovery)
        found = []
        while taken := self._discovery.reader.take(_BATCH):
            for endpoint in taken:
                if endpoint.sample_info.instance_state != InstanceState.Alive:
                    continue  # it has gone, and has no name any more
                topic, msgtype = ros_topic(endpoint.topic_name), ros_type(endpoint.type_name)
                if topic is not None and msgtype is not None:
                    found.append(_publication(topic, msgtype, endpoint.qos))
        return found


def _policies(reach: Reach) -> tuple[Any, Any]:
    return (
        Policy.Reliability.Reliable(100_000_000)
        if reach.reliable
        else Policy.Reliability.BestEffort,
        Policy.Durability.TransientLocal if reach.transient_local else Policy.Durability.Volatile,
    )


def _publication(topic: str, msgtype: str, qos: Qos) -> Publication:
    durability, user_data = qos[Policy.Durability], qos[Policy.Userdata]
    named = _TYPE_HASH.search(user_data.data if user_data is not None else b"")
    return Publication(
        topic, msgtype,
        Reach(isinstance(qos[Policy.Reliability], Policy.Reliability.Reliable),
              durability not in (None, Policy.Durability.Volatile)),
        int(qos[Policy.Deadline].deadline), int(qos[Policy.Lifespan].lifespan),
        named[1].decode() if named else "",
    )  # fmt: skip

"""Writes messages as they came into a rosbag2 (MCAP), which appears when it is complete."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Self

from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys.store import Typestore

from pipeline.errors import PipelineError
from pipeline.ros2.network import Publication


class RecordError(PipelineError):
    """A recording cannot be written."""


class RecordedBag:
    """A rosbag2 folder being written beside its place."""

    def __init__(self, out: Path) -> None:
        """Create the folder.

        Args:
            out: the recording; it must not exist.

        Raises:
            RecordError: it exists, or its place cannot be written to.
        """
        self._out = out
        # The folder has its final name already, because the files inside are named after it.
        self._partial = out.with_name(f".{out.name}.partial") / out.name
        if out.exists():
            raise RecordError(f"{out}: exists already, and no recording is replaced; name another")
        if self._partial.parent.exists():
            raise RecordError(
                f"{self._partial.parent}: another run is writing it, or was killed; wait, or move "
                "it elsewhere (ingest reads what it holds) or remove it"
            )
        try:
            self._writer = Writer(self._partial, version=8, storage_plugin=StoragePlugin.MCAP)
            self._writer.open()
        except OSError as error:
            raise RecordError(f"{out}: cannot be written: {error}") from error
        self.messages = 0

    def add_topic(self, publication: Publication, store: Typestore) -> Connection:
        """Record a topic.

        Args:
            publication: its name, type and quality of service.
            store: the definition of its type, which is written beside the messages.
        """
        return self._writer.add_connection(
            publication.topic, publication.msgtype, typestore=store,
            offered_qos_profiles=[_offered(publication)],
        )  # fmt: skip

    def write(self, topic: Connection, time_ns: int, data: bytes) -> None:
        """Record a message.

        Args:
            topic: of `add_topic`.
            time_ns: when it came, ns.
            data: its bytes.
        """
        self._writer.write(topic, time_ns, data)
        self.messages += 1

    def __enter__(self) -> Self:
        """Nothing more to do."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Write index and metadata.yaml and put the recording in its place, also after an error.

        Raises:
            RecordError: nothing was recorded, and nothing is left; or the place is taken by now.
        """
        self._writer.close()
        if self.messages:
            self._publish()
            return
        shutil.rmtree(self._partial.parent)
        if kind is None:
            raise RecordError(f"{self._out}: not written, because no message came")

    def _publish(self) -> None:
        for file in self._partial.iterdir():
            with file.open("rb") as written:
                os.fsync(written.fileno())
        if self._out.exists():
            raise RecordError(
                f"{self._out}: exists by now; the recording is in {self._partial}: move it"
            )
        self._partial.rename(self._out)
        self._partial.parent.rmdir()


def _offered(publication: Publication) -> Qos:
    """The quality of service that a publisher offers; nobody tells its history to others."""
    reach = publication.reach
    return Qos(
        history=QosHistory.UNKNOWN,
        depth=0,
        reliability=QosReliability.RELIABLE if reach.reliable else QosReliability.BEST_EFFORT,
        durability=(
            QosDurability.TRANSIENT_LOCAL if reach.transient_local else QosDurability.VOLATILE
        ),
        deadline=_time(publication.deadline_ns),
        lifespan=_time(publication.lifespan_ns),
        liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=_time(2**63 - 1),
        avoid_ros_namespace_conventions=False,
    )


def _time(time_ns: int) -> QosTime:
    return QosTime(*divmod(time_ns, 10**9))

"""Decodes the messages of one topic by the definition that fits.

A message that cannot be decoded becomes Unreadable. Knows message types and no files.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.interfaces import MessageDefinition, MessageDefinitionFormat
from rosbags.serde import SerdeError
from rosbags.typesys import (
    Stores,
    TypesysError,
    get_types_from_idl,
    get_types_from_msg,
    get_typestore,
)
from rosbags.typesys.store import Typestore

from pipeline.recordings.recording import (
    JointSample,
    Message,
    ObjectPose,
    Plan,
    Unreadable,
)
from pipeline.recordings.rosbag.cdr import (
    JointStateReader,
    has_known_definition,
    read_pose,
    read_stamp,
)
from pipeline.recordings.rosbag.cdr_trajectory import PlanReader
from pipeline.recordings.rosbag.compression import (
    ZSTD_MAGIC,
    CompressionError,
    unpack_message,
)
from pipeline.recordings.rosbag.definitions import bundled_stores, own_store
from pipeline.recordings.rosbag.messages import JOINT_STATE, POSE_STAMPED
from pipeline.recordings.rosbag.parsers import PARSERS

Array = NDArray[np.float64]

_DECODE_ERRORS = (
    SerdeError, TypesysError, ValueError, KeyError, AttributeError, IndexError, TypeError,
    OverflowError, MemoryError, RecursionError, AssertionError,
)  # fmt: skip


class Decoder:
    """Decodes one topic's messages by the definition that fits."""

    def __init__(
        self,
        topic: str,
        msgtype: str,
        definition: MessageDefinition | None,
        msg_path: Path | None = None,
        *,
        ros1: bool = False,
    ) -> None:
        """Collect the definitions to try: the recording's own, the user's, the bundled ones.

        Args:
            topic: its name.
            msgtype: for instance "sensor_msgs/msg/JointState".
            definition: the one in the recording, or None.
            msg_path: folder of the user's own .msg files.
            ros1: whether the bytes are those of ROS 1.

        Raises:
            DefinitionError: a definition of the user's cannot be read.
        """
        self._topic, self._msgtype, self._ros1 = topic, msgtype, ros1
        self._count = 0
        own = None if msg_path is None else own_store(msg_path, msgtype)
        embedded = None if definition is None else embedded_store(definition, msgtype)
        bundled = () if ros1 else bundled_stores(msgtype)
        self._stores = [store for store in (embedded, own, *bundled) if store is not None]
        self._direct = (
            not ros1 and bool(self._stores) and has_known_definition(self._stores[0], msgtype)
        )
        self._read_joint_state = JointStateReader()
        self._read_plan = PlanReader(msgtype)
        self._parse = PARSERS[msgtype]

    def __call__(self, time_ns: int, raw: bytes) -> Message:
        """Decode a message; Unreadable if no definition fits.

        Args:
            time_ns: log time.
            raw: the message as it was recorded; it may be compressed.
        """
        index, self._count = self._count, self._count + 1
        reasons = []
        if raw[:4] == ZSTD_MAGIC:
            try:
                raw = unpack_message(raw)
            except CompressionError as error:
                return Unreadable(self._topic, index, "DECODE_ERROR", f"compressed: {error}")
        decoded = self._decode_directly(index, time_ns, raw) if self._direct else None
        if decoded is not None:
            return decoded
        for store in list(self._stores):
            try:
                read = store.deserialize_ros1 if self._ros1 else store.deserialize_cdr
                message = self._parse(self._topic, index, time_ns, read(raw, self._msgtype))
            except _DECODE_ERRORS as error:
                reasons.append(str(error) or type(error).__name__)
                continue
            # All messages of a topic have one definition, so this one is tried first next time.
            self._stores.remove(store)
            self._stores.insert(0, store)
            return message
        why = "; ".join(dict.fromkeys(reasons)) or "no definition of its type: see ingest.msg_path"
        return Unreadable(self._topic, index, "DECODE_ERROR", why)

    def _decode_directly(self, index: int, time_ns: int, raw: bytes) -> Message | None:
        if self._msgtype == JOINT_STATE:
            joints = self._read_joint_state(raw)
            if joints is None:
                return None
            return JointSample(time_ns, *joints, read_stamp(raw), self._topic, index)
        if self._msgtype == POSE_STAMPED:
            pose = read_pose(raw)
            return None if pose is None else ObjectPose(time_ns, *pose, stamp_ns=read_stamp(raw))
        segments = self._read_plan(raw)
        return None if segments is None else Plan(self._topic, index, time_ns, segments)


@lru_cache(maxsize=64)
def embedded_store(definition: MessageDefinition, msgtype: str) -> Typestore | None:
    """Types by a recording's own definition; None if it has none or if it cannot be parsed.

    Args:
        definition: format and text.
        msgtype: the type that it defines.
    """
    if definition.format == MessageDefinitionFormat.NONE or not definition.data:
        return None
    store = get_typestore(Stores.EMPTY)
    try:
        if definition.format == MessageDefinitionFormat.IDL:
            types: Mapping[str, Any] = get_types_from_idl(definition.data)
        else:
            types = get_types_from_msg(definition.data, msgtype)
            if msgtype not in types:  # an action's message: the parser names it …/msg/…
                types = {**types, msgtype: next(iter(types.values()))}
        store.register(dict(types))
    except (*_DECODE_ERRORS, SyntaxError):
        return None
    return store if msgtype in store.fielddefs else None

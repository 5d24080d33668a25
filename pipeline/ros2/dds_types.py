"""Message types for Cyclone DDS, made from ROS 2's definitions. Samples stay the bytes they are.

Cyclone's own serialiser in Python is not used: rosbags encodes and decodes, as for recordings.
"""

from __future__ import annotations

from typing import Any

from cyclonedds.idl import IdlStruct, make_idl_struct
from cyclonedds.idl import types as idl
from rosbags.interfaces import Nodetype
from rosbags.typesys.store import Typestore

from pipeline.ros2.names import dds_type

# A char of ROS 2 is an unsigned byte; a byte is IDL's octet.
_BASE: dict[str, Any] = {
    "bool": bool, "byte": idl.byte, "octet": idl.byte, "char": idl.uint8,
    "int8": idl.int8, "int16": idl.int16, "int32": idl.int32, "int64": idl.int64,
    "uint8": idl.uint8, "uint16": idl.uint16, "uint32": idl.uint32, "uint64": idl.uint64,
    "float32": idl.float32, "float64": idl.float64, "string": str,
}  # fmt: skip


def make_message_class(store: Typestore, msgtype: str) -> type[Any]:
    """A class of samples, each with the serialised message in `data`.

    The class describes the type in full, because participants compare the types of a topic.

    Args:
        store: the definitions of the type and of its parts.
        msgtype: for instance "sensor_msgs/msg/JointState".
    """
    made: Any = describe_type(store, msgtype)
    made.__init__ = _keep
    made.serialize = lambda sample, **_: sample.data
    made.deserialize = classmethod(lambda cls, data, **_: cls(bytes(data)))
    # A sample without data, which only says that a publisher has gone, is read by its (empty) key.
    made.deserialize_key = made.deserialize
    return made  # type: ignore[no-any-return]


def describe_type(store: Typestore, msgtype: str) -> type[IdlStruct]:
    """A class of Cyclone's with the fields of a message.

    Args:
        store: the definitions of the type and of its parts.
        msgtype: for instance "sensor_msgs/msg/JointState".
    """
    return _struct(store, msgtype, {})


def _keep(sample: Any, data: bytes) -> None:
    sample.data = data


def _struct(store: Typestore, msgtype: str, known: dict[str, type[IdlStruct]]) -> type[IdlStruct]:
    if msgtype not in known:
        _, members = store.fielddefs[msgtype]
        # IDL has no empty struct; ROS 2 gives such a message this byte.
        fields = {name: _field(store, found, known) for name, found in members} or {
            "structure_needs_at_least_one_member": idl.uint8
        }
        known[msgtype] = make_idl_struct(
            msgtype.rpartition("/")[2], dds_type(msgtype).replace("::", "."), fields
        )
    return known[msgtype]


def _field(store: Typestore, described: Any, known: dict[str, type[IdlStruct]]) -> Any:
    """The type of a field, from rosbags' description of it."""
    kind, detail = described
    if kind == Nodetype.BASE:
        name, bound = detail
        return idl.bounded_str[bound] if name == "string" and bound else _BASE[name]
    if kind == Nodetype.NAME:
        return _struct(store, detail, known)
    inner, number = _field(store, detail[0], known), detail[1]
    if kind == Nodetype.ARRAY:
        return idl.array[inner, number]
    return idl.sequence[inner, number] if number else idl.sequence[inner]

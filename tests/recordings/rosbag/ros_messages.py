"""What the decoders' tests make their messages of."""

from __future__ import annotations

from hypothesis import strategies as st

from pipeline.recordings.rosbag.messages import typestore

TYPES = typestore().types
joint_names = st.lists(st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=9),
                       min_size=1, max_size=8)  # fmt: skip


def header(frame="", sec=0):
    stamp = TYPES["builtin_interfaces/msg/Time"](sec=sec, nanosec=7)
    return TYPES["std_msgs/msg/Header"](stamp=stamp, frame_id=frame)


def serialize(message, msgtype, little_endian=True):
    return bytes(typestore().serialize_cdr(message, msgtype, little_endian=little_endian))

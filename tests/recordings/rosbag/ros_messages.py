"""Messages and bags for the tests of the readers."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from pipeline.recordings.rosbag import messages as m
from pipeline.recordings.rosbag.decode import Decoder
from pipeline.recordings.rosbag.writer import BagWriter

TYPES = m.typestore().types
NAMES = ["joint_1", "joint_2"]
POSITION = np.array([[0.0, 0.1], [0.2, 0.3]])
joint_names = st.lists(st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=9),
                       min_size=1, max_size=8)  # fmt: skip


def header(frame="", sec=0):
    stamp = TYPES["builtin_interfaces/msg/Time"](sec=sec, nanosec=7)
    return TYPES["std_msgs/msg/Header"](stamp=stamp, frame_id=frame)


def serialize(message, msgtype, little_endian=True):
    return bytes(m.typestore().serialize_cdr(message, msgtype, little_endian=little_endian))


def record(path, storage, plans=3, prefix=""):
    position = np.array([[0.0, 0.1], [0.2, 0.3], [0.4, 0.5]])
    with BagWriter(path, storage) as bag:
        for index in range(plans):
            base = (index + 1) * 10**9
            bag.object_pose(
                base, "base_link", np.array([0.4, index, 0.2]), np.array([0.0, 0, 0, 1]),
                topic=f"{prefix}/pen_pose",
            )  # fmt: skip
            bag.plan(
                base + 1, NAMES, np.array([0.0, 0.1, 0.2]), position, position * 2, position * 3,
                position[0], topic=f"{prefix}/display_planned_path",
            )  # fmt: skip
            for sample in range(4):
                bag.joint_state(
                    base + 2 + sample, NAMES, position[0], position[1], f"{prefix}/joint_states"
                )
    return path


class Make:
    """Messages of one store."""

    def __init__(self, store):
        self.store = store

    def __call__(self, kind, /, **fields):
        return self.store.types[kind](**fields)

    def header(self, seconds=0, frame=""):
        extra = {"seq": 0} if "seq" in dict(self.store.fielddefs["std_msgs/msg/Header"][1]) else {}
        stamp = self("builtin_interfaces/msg/Time", sec=seconds, nanosec=5)
        return self("std_msgs/msg/Header", stamp=stamp, frame_id=frame, **extra)

    def point(self, position, seconds=0):
        none = np.zeros(0)
        return self(
            "trajectory_msgs/msg/JointTrajectoryPoint", positions=position, velocities=position * 2,
            accelerations=none, effort=none,
            time_from_start=self("builtin_interfaces/msg/Duration", sec=seconds, nanosec=0),
        )  # fmt: skip

    def joint_trajectory(self):
        points = [self.point(row, index) for index, row in enumerate(POSITION)]
        return self(m.JOINT_TRAJECTORY, header=self.header(), joint_names=NAMES, points=points)

    def robot_trajectory(self):
        multi = self("trajectory_msgs/msg/MultiDOFJointTrajectory", header=self.header(),
                     joint_names=[], points=[])  # fmt: skip
        return self(m.ROBOT_TRAJECTORY, joint_trajectory=self.joint_trajectory(),
                    multi_dof_joint_trajectory=multi)  # fmt: skip

    def multi_point(self):
        return self("trajectory_msgs/msg/MultiDOFJointTrajectoryPoint", transforms=[],
                    velocities=[], accelerations=[], time_from_start=self(
                        "builtin_interfaces/msg/Duration", sec=0, nanosec=0))  # fmt: skip

    def tracked(self, msgtype, **fields):
        """A controller's state or feedback: every point it knows, those not given left empty."""
        for name, (kind, detail) in self.store.fielddefs[msgtype][1]:
            if kind.name == "NAME" and detail.endswith("/JointTrajectoryPoint"):
                fields.setdefault(name, self.point(np.zeros(0)))
            elif kind.name == "NAME" and detail.endswith("/MultiDOFJointTrajectoryPoint"):
                fields.setdefault(name, self.multi_point())
            elif kind.name == "BASE":
                fields.setdefault(name, 1)
        fields.setdefault("multi_dof_joint_names", [])
        known = dict(self.store.fielddefs[msgtype][1])
        chosen = {name: value for name, value in fields.items() if name in known}
        return self(msgtype, header=self.header(7), joint_names=NAMES, **chosen)


def decode(store, msgtype, message, *, embedded=None, **options):
    raw = bytes(store.serialize_cdr(message, msgtype))
    return Decoder("/topic", msgtype, embedded, **options)(9, raw)

"""A plan with its context, to be bent by each test."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys.store import Typestore

from pipeline.data.assemble import Arm
from pipeline.data.bag import open_bag, summarize
from pipeline.data.episode import Episode, Provenance
from pipeline.data.events import read_events
from pipeline.data.recording import Candidate, Event, Execution, ObjectPose, Plan, Segment, Source
from pipeline.data.topics import choose_topics
from pipeline.params import Params

Array = NDArray[np.float64]
JOINTS = tuple(f"joint_{index}" for index in range(1, 7))
PLAN_NS = 10_000_000_000


def path(t: Array) -> tuple[Array, Array]:
    """A smooth motion of six joints from rest to rest, and its velocity. Shapes (T, 6)."""
    reach = np.array([0.5, -0.4, 0.3, 0.2, -0.6, 0.1])
    s = t / t[-1]
    position = reach * (3 * s**2 - 2 * s**3)[:, None]
    velocity = reach * (6 * s - 6 * s**2)[:, None] / t[-1]
    return position, velocity


def straight_fk(joint_pos: Array) -> Array:
    """A stand-in for forward kinematics: the first three joints as a position."""
    pose = np.zeros((len(joint_pos), 7))
    pose[:, :3] = joint_pos[:, :3]
    pose[:, 6] = 1.0
    return pose


@pytest.fixture
def arm() -> Arm:
    return Arm(
        JOINTS, np.full(6, -3.14), np.full(6, 3.14), *np.zeros((2, 6), np.bool_), straight_fk
    )


@pytest.fixture
def read_all(params: Params) -> Callable[..., list[Event]]:
    """Events of a bag by the roles of its topics; keywords replace ingest's parameters."""

    def read_all(path: Path, *, salvage: bool = False, **rules: Any) -> list[Event]:
        chosen = params.override("ingest", **rules).ingest
        with open_bag(path, salvage=salvage) as bag:
            reading = choose_topics(summarize(bag), chosen, "pen")
            return list(read_events(bag, reading, chosen.msg_path))

    return read_all


@pytest.fixture
def write_bag(tmp_path: Path) -> Callable[..., Path]:
    """A bag of any messages: rows of topic, type, time in ns and message, serialised by a store."""

    def write_bag(
        rows: list[tuple[str, str, int, Any]],
        store: Typestore,
        name: str = "bag",
        storage: StoragePlugin = StoragePlugin.MCAP,
    ) -> Path:
        with Writer(tmp_path / name, version=8, storage_plugin=storage) as writer:
            connections: dict[tuple[str, str], Any] = {}
            for topic, msgtype, time_ns, message in rows:
                key = (topic, msgtype)
                if key not in connections:
                    connections[key] = writer.add_connection(topic, msgtype, typestore=store)
                raw = store.serialize_cdr(message, msgtype)
                writer.write(connections[key], time_ns, raw)
        return tmp_path / name

    return write_bag


@pytest.fixture
def edit_bag() -> Callable[..., None]:
    """Changes the database bag.db3 in a folder by SQL statements."""

    def edit_bag(folder: Path, *statements: str) -> None:
        # As a context manager a connection commits; it does not close.
        with closing(sqlite3.connect(folder / "bag.db3")) as connection, connection:
            for statement in statements:
                connection.execute(statement)

    return edit_bag


@pytest.fixture
def source() -> Source:
    return Source("recordings/one", "0" * 64, "mcap")


@pytest.fixture
def segment() -> Callable[..., Segment]:
    """A segment of 13 points in 1.2 s; keywords replace its fields."""

    def make(**changes: Any) -> Segment:
        t = np.linspace(0.0, 1.2, 13)
        position, velocity = path(t)
        fields = {"joint_names": JOINTS, "t": t, "joint_pos": position, "joint_vel": velocity}
        return Segment(**{**fields, **changes})

    return make


@pytest.fixture
def candidate(segment: Callable[..., Segment]) -> Callable[..., Candidate]:
    """A plan with the object's pose; keywords replace segments, object_pose or execution."""

    def make(**changes: Any) -> Candidate:
        segments = changes.pop("segments", (segment(),))
        pose = ObjectPose(
            PLAN_NS - 10**9, "base_link", np.array([0.4, 0.0, 0.2]), np.array([0.0, 0.0, 0.0, 1.0])
        )
        fields = {"object_pose": pose, "execution": None, **changes}
        return Candidate(Plan("/display_planned_path", 4, PLAN_NS, segments), **fields)

    return make


@pytest.fixture
def execution() -> Callable[..., Execution]:
    """Joints at 50 Hz that follow the plan of `segment` 40 ms late and settle; off by `miss`."""

    def make(miss: float = 0.0, until_s: float = 2.0, **changes: Any) -> Execution:
        t = np.arange(0.004, until_s, 0.02)
        late = np.clip(t - 0.04, 0.0, 1.2)
        position, velocity = path(np.append(late, 1.2))
        position = position[:-1] * (1 + miss)
        fields = {"t": t, "joint_pos": position, "joint_vel": velocity[:-1]}
        return Execution(**{**fields, "final_pos": position[-1], **changes})

    return make


@pytest.fixture
def episode() -> Callable[..., Episode]:
    """An episode of 13 samples in 1.2 s; keywords replace its fields."""

    def make(**changes: Any) -> Episode:
        t = np.linspace(0.0, 1.2, 13)
        position, velocity = path(t)
        fields = {
            "t": t,
            "joint_pos": position,
            "joint_vel": velocity,
            "joint_command": position,
            "ee_pose": straight_fk(position),
            "object_pos": np.array([0.4, 0.0, 0.2]),
            "object_axis": np.array([0.0, 0.0, 1.0]),
            "provenance": Provenance(
                "one", "0" * 64, "mcap", "/plans", 3, 0, PLAN_NS, JOINTS, ("pose by FK",)
            ),
        }
        return Episode(**{**fields, **changes})

    return make

"""Gives each topic of a recording its role. Pure.

Roles come from the names in params.yaml. A topic with another name gets a role if it is the only
one of its type. Reading and the table of `info` use the same roles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pipeline.params import IngestParams
from pipeline.recordings.rosbag.messages import (
    ATTACHED_OBJECT,
    COLLISION_OBJECT,
    CONTROLLER_STATE,
    DISPLAY_TRAJECTORY,
    JOINT_STATE,
    JOINT_TRAJECTORY,
    MARKS,
    PLANNING_SCENE,
    POSE_STAMPED,
    ROBOT_TRAJECTORY,
    TF_MESSAGES,
    TRACKING_FEEDBACK,
)

Role = Literal["plan", "tracking", "joints", "object", "transforms", "marks", "scene"]
Mode = Literal["plans", "tracking", "joints"]

# The most common type of each role first.
TYPES: dict[Role, tuple[str, ...]] = {
    "plan": (DISPLAY_TRAJECTORY, ROBOT_TRAJECTORY, JOINT_TRAJECTORY),
    "tracking": (TRACKING_FEEDBACK, CONTROLLER_STATE),
    "joints": (JOINT_STATE,),
    "object": (POSE_STAMPED,),
    "transforms": TF_MESSAGES,
    "marks": MARKS,
    "scene": (PLANNING_SCENE, COLLISION_OBJECT, ATTACHED_OBJECT),
}
# The roles that are read in each mode.
_READ: dict[Mode, tuple[Role, ...]] = {
    "plans": ("plan", "joints", "object", "transforms", "scene"),
    "tracking": ("tracking", "object", "transforms", "marks", "scene"),
    "joints": ("joints", "object", "transforms", "marks", "scene"),
}
_NAMED: dict[Role, str] = {
    "plan": "ingest.plan_topic",
    "joints": "ingest.joint_topic",
    "object": "ingest.object_topic",
    "tracking": "ingest.tracking_topic",
    "marks": "ingest.mark_topic",
    "scene": "ingest.scene_topics",
}


@dataclass(frozen=True)
class TopicCount:
    """One topic of a recording."""

    topic: str
    msgtype: str
    messages: int


@dataclass(frozen=True)
class TopicUse:
    """What ingest does with one topic."""

    topic: str
    msgtype: str
    role: Role | None
    """None if the topic is not read."""
    note: str
    """Why, for the user."""
    has_wrong_type: bool = False
    """Whether the topic has the name of a role, but a type that the role cannot have."""
    repeats: str | None = None
    """The topic that is read instead because it names the same joints."""


@dataclass(frozen=True)
class Reading:
    """What ingest does with a recording."""

    mode: Mode | None
    """What becomes an episode; None if the recording holds nothing that can."""
    uses: tuple[TopicUse, ...]

    def alone(self, use: TopicUse) -> Reading:
        """The reading of one topic and no other.

        Args:
            use: one of `uses`.
        """
        others = (
            replace(each, role=None, has_wrong_type=False) for each in self.uses if each != use
        )
        return Reading(self.mode, (use, *others))


def choose_topics(topics: Sequence[TopicCount], rules: IngestParams, object_name: str) -> Reading:
    """Give each topic its role, or none.

    Args:
        topics: all topics of the recording.
        rules: section `ingest` of params.yaml.
        object_name: name of the object to grasp.
    """
    roles: dict[tuple[str, str], Role] = {}
    notes: dict[tuple[str, str], str] = {}
    wrong_types: set[tuple[str, str]] = set()
    names: list[tuple[Role, str | None]] = [
        ("plan", rules.plan_topic),
        ("joints", rules.joint_topic),
        ("object", rules.object_topic),
        ("tracking", rules.tracking_topic),
        ("marks", rules.mark_topic),
        *(("scene", name) for name in rules.scene_topics if rules.obstacles),
    ]
    for role, name in names:
        for topic in topics:
            if name is None or not _is_named(topic.topic, name):
                continue
            key = (topic.topic, topic.msgtype)
            if topic.msgtype in TYPES[role]:
                roles[key] = role
                notes[key] = f"{role}, by {_NAMED[role]}"
            else:
                wrong_types.add(key)
                expected = " or ".join(TYPES[role])
                notes[key] = f"carries {topic.msgtype}, expected {expected} ({_NAMED[role]})"
    _read_by_type(topics, rules, roles, notes)
    if rules.discover_topics:
        found: tuple[Role, ...] = ("plan", "joints", "object")
        found += ("scene",) if rules.obstacles else ()
        _discover(topics, found, object_name, roles, notes)
    counts = {(topic.topic, topic.msgtype): topic.messages for topic in topics}
    held = {role for key, role in roles.items() if counts[key]}
    mode = _mode(held, rules)
    read = _READ[mode] if mode is not None else ()
    preferred = next(
        (
            kind
            for kind in TYPES["tracking"]
            if any(counts[key] and key[1] == kind and roles.get(key) == "tracking" for key in roles)
        ),
        None,
    )
    uses = []
    for topic in topics:
        key = (topic.topic, topic.msgtype)
        role_found = roles.get(key)
        note = notes.get(key, "not read: no trajectory, joints or pose")
        if role_found is not None and role_found not in read:
            note, role_found = f"not read: episodes come from {mode or 'nothing here'}", None
        elif role_found == "tracking" and topic.msgtype != preferred:
            note, role_found = f"not read: {preferred} holds more", None
        uses.append(TopicUse(topic.topic, topic.msgtype, role_found, note, key in wrong_types))
    return Reading(mode, tuple(uses))


def _is_named(topic: str, name: str) -> bool:
    """Whether a topic has a name, in any namespace."""
    return f"/{topic.strip('/')}".endswith(f"/{name.strip('/')}")


def _read_by_type(
    topics: Sequence[TopicCount],
    rules: IngestParams,
    roles: dict[tuple[str, str], Role],
    notes: dict[tuple[str, str], str],
) -> None:
    """Give a role to topics whose type is enough to know it."""
    for topic in topics:
        key = (topic.topic, topic.msgtype)
        if topic.msgtype in TF_MESSAGES:
            roles[key], notes[key] = "transforms", "frames of the object's pose and of obstacles"
        elif topic.msgtype in TYPES["tracking"] and rules.tracking_topic is None:
            roles[key], notes[key] = "tracking", "a controller's feedback or state, by its type"
        elif topic.msgtype in TYPES["scene"] and not rules.obstacles:
            notes[key] = "not read: ingest.obstacles is false"


def _mode(held: set[Role], rules: IngestParams) -> Mode | None:
    if rules.episodes_from != "auto":
        wanted: Role = "plan" if rules.episodes_from == "plans" else rules.episodes_from
        return rules.episodes_from if wanted in held else None
    if "plan" in held:
        return "plans"
    if "tracking" in held:
        return "tracking"
    return "joints" if "joints" in held else None


def _discover(
    topics: Sequence[TopicCount],
    found: Sequence[Role],
    object_name: str,
    roles: dict[tuple[str, str], Role],
    notes: dict[tuple[str, str], str],
) -> None:
    """Give a role to topics with other names if each is the only one of its type."""
    counts = {(topic.topic, topic.msgtype): topic.messages for topic in topics}
    for role in found:
        if any(counts[key] for key, has in roles.items() if has == role):
            continue
        for msgtype in TYPES[role]:
            keys = [
                (topic.topic, topic.msgtype)
                for topic in topics
                if topic.msgtype == msgtype and topic.messages
                and (topic.topic, topic.msgtype) not in roles
            ]  # fmt: skip
            if role == "object":
                # Goals and grippers have poses too, so only the name tells the object's.
                for key in keys:
                    notes.setdefault(key, f"not read: name it in {_NAMED[role]} if it is the pose "
                                          f"of the {object_name}")  # fmt: skip
                keys = [key for key in keys if object_name.lower() in key[0].lower()]
            if len(keys) == 1:
                roles[keys[0]] = role
                notes[keys[0]] = f"{role}, the only one of its type"
                break
            for key in keys:
                notes[key] = f"not read: {len(keys)} topics carry this; name one in {_NAMED[role]}"
            if keys:
                break

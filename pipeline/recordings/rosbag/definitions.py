"""Message definitions for recordings that carry none, in the order in which they are tried.

Owns the versions of a type in different ROS 2 distributions and the user's own .msg files. A wrong
definition raises an error when it decodes, so trying one after the other is safe.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from rosbags.typesys import Stores, TypesysError, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from pipeline.errors import PipelineError
from pipeline.recordings.rosbag.messages import (
    ATTACHED_OBJECT,
    COLLISION_OBJECT,
    CONTROLLER_STATE,
    DISPLAY_TRAJECTORY,
    PLANNING_SCENE,
    TRACKING_FEEDBACK,
    typestore,
)

_POINT = "trajectory_msgs/JointTrajectoryPoint"
_MULTI_DOF = "trajectory_msgs/MultiDOFJointTrajectoryPoint"
_HEAD = "std_msgs/Header header\nstring[] joint_names\n"


def _fields(kind: str, *names: str) -> str:
    return "".join(f"{kind} {name}\n" for name in names)


def _with_multi_dof(*names: str) -> str:
    """Points of the named kinds for joints, and the same for joints with several DOF."""
    return (
        _HEAD
        + _fields(_POINT, *names)
        + "string[] multi_dof_joint_names\n"
        + _fields(_MULTI_DOF, *(f"multi_dof_{name}" for name in names))
    )


_PLAIN = _HEAD + _fields(_POINT, "desired", "actual", "error")
_JAZZY = _with_multi_dof("reference", "feedback", "error", "output")
# control_msgs/msg/JointTrajectoryControllerState: control_msgs 2 and 3 (Foxy, Galactic), 4 (Humble,
# Iron: both names of everything), 5 (Jazzy and later; its last minor versions add a factor).
CONTROLLER_STATES = {
    "humble": _with_multi_dof("reference", "feedback", "error", "output", "desired", "actual"),
    "jazzy": _JAZZY,
    "jazzy with speed scaling": _JAZZY + "float64 speed_scaling_factor\n",
    "galactic": _PLAIN,
}
_FEEDBACK = "control_msgs/msg/FollowJointTrajectory_Feedback"
_FEEDBACK_MULTI_DOF = _with_multi_dof("desired", "actual", "error")
# control_msgs/action/FollowJointTrajectory: its feedback gained multi-DOF joints, then an index.
FEEDBACKS = {
    "multi-DOF": _FEEDBACK_MULTI_DOF,
    "plain": _PLAIN,
    "indexed": _FEEDBACK_MULTI_DOF + "int32 index\n",
}
_FEEDBACK_MESSAGE = f"unique_identifier_msgs/UUID goal_id\n{_FEEDBACK} feedback\n"


class DefinitionError(PipelineError):
    """One of the user's message definitions cannot be read."""


@cache
def bundled_stores(msgtype: str) -> tuple[Typestore, ...]:
    """Type stores that know a type, the most common version first; register nothing in them.

    Args:
        msgtype: for instance "moveit_msgs/msg/DisplayTrajectory".
    """
    if msgtype == CONTROLLER_STATE:
        return tuple(_with(msgtype, text) for text in CONTROLLER_STATES.values())
    if msgtype == TRACKING_FEEDBACK:
        return tuple(
            _with(msgtype, _FEEDBACK_MESSAGE, {_FEEDBACK: text}) for text in FEEDBACKS.values()
        )
    stores = [typestore()]
    if msgtype in {DISPLAY_TRAJECTORY, PLANNING_SCENE, COLLISION_OBJECT, ATTACHED_OBJECT}:
        # SolidPrimitive, part of an object in the scene, has no polygon before Humble.
        stores.append(typestore(Stores.ROS2_FOXY))
    return tuple(store for store in stores if msgtype in store.fielddefs)


def _with(msgtype: str, text: str, others: Mapping[str, str] | None = None) -> Typestore:
    """The types of Humble and one type, with others that it is made of, by their definitions."""
    store = get_typestore(Stores.ROS2_HUMBLE)
    for name, part in (others or {}).items():
        store.register(get_types_from_msg(part, name))
    # The parser names an action's message …/msg/… although its type is …/action/….
    parsed = get_types_from_msg(text, msgtype)
    store.register({msgtype: next(iter(parsed.values()))})
    return store


@cache
def own_types(folder: Path) -> Mapping[str, Any]:
    """Types of a folder of .msg files: package/msg/Type.msg or package/Type.msg, at any depth.

    Args:
        folder: `ingest.msg_path`.

    Returns:
        Parsed fields by the type's name, "package/msg/Type".

    Raises:
        DefinitionError: the folder is missing or holds no .msg, or a file cannot be parsed.
    """
    files = sorted(folder.rglob("*.msg")) if folder.is_dir() else []
    if not files:
        raise DefinitionError(
            f"{folder}: holds no .msg files; expected package/msg/Type.msg, as in the share folder "
            "of a ROS 2 workspace: correct ingest.msg_path"
        )
    types: dict[str, Any] = {}
    for file in files:
        package = file.parent.parent if file.parent.name == "msg" else file.parent
        name = f"{package.name}/msg/{file.stem}"
        try:
            types.update(get_types_from_msg(file.read_text(), name))
        except (TypesysError, SyntaxError, ValueError, KeyError, OSError) as error:
            raise DefinitionError(
                f"{file}: cannot be parsed as the definition of {name} ({error}); expected a ROS 2 "
                ".msg file: correct it or remove it from ingest.msg_path"
            ) from error
    return types


@cache
def own_store(folder: Path, msgtype: str) -> Typestore | None:
    """A type store with the user's definitions where there are any, else with those of Humble.

    Args:
        folder: `ingest.msg_path`.
        msgtype: the type.

    Returns:
        The store; None if no definition of the folder is part of the type.

    Raises:
        DefinitionError: a file cannot be parsed, or the definitions do not fit together.
    """
    own = own_types(folder)
    known: dict[str, Any] = {**typestore().fielddefs, **own}
    needed: dict[str, Any] = {}
    waiting = [msgtype]
    while waiting:
        name = waiting.pop()
        if name in needed or name not in known:
            continue
        needed[name] = known[name]
        waiting += [word for word in known if f"'{word}'" in repr(known[name][1])]
    if msgtype not in needed or not set(needed) & set(own):
        return None
    store = get_typestore(Stores.EMPTY)
    try:
        store.register({name: fields for name, fields in needed.items() if "builtin" not in name})
    except (TypesysError, SyntaxError, ValueError, KeyError) as error:
        raise DefinitionError(
            f"{folder}: cannot define {msgtype} ({error}); expected every type that it names: "
            "complete ingest.msg_path"
        ) from error
    return store

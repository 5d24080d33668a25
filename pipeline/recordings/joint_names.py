"""Finds the arm's joints among the joint names of a recording. Pure."""

from __future__ import annotations

from collections.abc import Sequence


def find_joints(
    names: Sequence[str], joints: Sequence[str], prefix: str | None = None
) -> tuple[list[int] | None, str]:
    """Find the index of each of the arm's joints among recorded names.

    A recording may name them in any order, among others, and with a common prefix such as a
    namespace or the name of an arm. Names without a prefix are preferred. If two prefixes fit, as
    with two arms, none is chosen.

    Args:
        names: K names as recorded.
        joints: J names of the arm.
        prefix: the text before each name; None finds it.

    Returns:
        Indices into `names`, one for each joint, and an empty text; or None and the reason.
    """
    places: dict[str, int] = {}
    for index, name in enumerate(names):
        places.setdefault(name, index)
    prefixes = [""] if prefix is None else [prefix]
    if prefix is None and joints:
        prefixes += sorted({name.removesuffix(joints[0]) for name in names} - {*names, ""})
    fitting = [first for first in prefixes if all(first + joint in places for joint in joints)]
    if not fitting:
        missing = [joint for joint in joints if (prefix or "") + joint not in places]
        return None, f"without {', '.join((prefix or '') + joint for joint in missing)}"
    if fitting[0] != "" and len(fitting) > 1:
        both = " and ".join(first + joints[0] for first in fitting)
        return None, f"{both} both fit: name one in ingest.joint_prefix"
    return [places[fitting[0] + joint] for joint in joints], ""

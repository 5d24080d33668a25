"""The text of a URDF, every mesh named by its full path.

pinocchio and MuJoCo look for meshes each in its own way; both take full paths. Knows no robot.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

_MESH = re.compile(r"""(<mesh\b[^>]*?\bfilename\s*=\s*)(["'])(.*?)\2""")
_SCHEMES = ("package://", "model://")


def urdf_text(path: Path) -> str:
    """Read a URDF and put the full path in place of each mesh's name that leads to a file.

    `package://NAME/…` is looked for in folders NAME beside and above the URDF, then among the
    packages of a sourced ROS 2 (AMENT_PREFIX_PATH); other names are relative to the URDF. A name
    that leads nowhere stays: what needs the mesh says that it is missing, a `<visual>` may go
    without.

    Args:
        path: the file.

    Raises:
        OSError: it cannot be read.
        UnicodeDecodeError: it is no text.
    """
    folder = path.resolve().parent

    def full(match: re.Match[str]) -> str:
        place = next((place for place in _places(match[3], folder) if place.is_file()), None)
        return match[0] if place is None else f"{match[1]}{match[2]}{place}{match[2]}"

    return _MESH.sub(full, path.read_text(encoding="utf-8"))


def _places(name: str, folder: Path) -> Iterator[Path]:
    """Where a mesh may lie, the likeliest first."""
    scheme = next((scheme for scheme in _SCHEMES if name.startswith(scheme)), None)
    if scheme is None:
        yield folder / name.removeprefix("file://")
        return
    inside = name.removeprefix(scheme)
    for above in (folder, *folder.parents):
        yield above / inside
    for prefix in filter(None, os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)):
        yield Path(prefix) / "share" / inside

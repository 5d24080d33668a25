"""The text of a URDF in which every mesh is named by its full path.

pinocchio and MuJoCo search for meshes in different ways; both accept full paths.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

_SCHEMES = ("package://", "model://")


def urdf_text(path: Path) -> str:
    """Read a URDF and replace the name of each mesh by the full path of its file.

    `package://NAME/…` is searched in folders NAME beside and above the URDF, then among the
    packages of a sourced ROS 2 (AMENT_PREFIX_PATH); other names are relative to the URDF. The name
    of a mesh that is not found stays: code that needs the mesh reports that it is missing, and a
    `<visual>` can do without. Comments are dropped.

    Args:
        path: the URDF.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not well-formed XML.
    """
    folder = path.resolve().parent
    try:
        root = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise ValueError(f"not well-formed XML: {error}") from error
    for mesh in root.iter("mesh"):
        candidates = _candidates(mesh.get("filename", ""), folder)
        found = next((file for file in candidates if file.is_file()), None)
        if found is not None:
            mesh.set("filename", str(found))
    return ElementTree.tostring(root, encoding="unicode")


def _candidates(name: str, folder: Path) -> Iterator[Path]:
    """Yield the paths at which a mesh may lie, the likeliest first."""
    scheme = next((scheme for scheme in _SCHEMES if name.startswith(scheme)), None)
    if scheme is None:
        yield folder / name.removeprefix("file://")
        return
    inside = name.removeprefix(scheme)
    for above in (folder, *folder.parents):
        yield above / inside
    for prefix in filter(None, os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)):
        yield Path(prefix) / "share" / inside

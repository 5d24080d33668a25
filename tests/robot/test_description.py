"""Meshes are found in the usual places, by pinocchio as well as by MuJoCo."""

from __future__ import annotations

import struct
from pathlib import Path
from xml.etree.ElementTree import canonicalize

import mujoco
import pinocchio as pin
import pytest

from pipeline.params import Params
from pipeline.robot.collision import CollisionChecker
from pipeline.robot.description import urdf_text
from pipeline.robot.model import ModelError, load_urdf

TRIANGLES = ((0, 2, 1), (0, 1, 3), (0, 3, 2), (1, 2, 3))
CORNERS = ((0.0, 0.0, 0.0), (0.1, 0.0, 0.0), (0.0, 0.1, 0.0), (0.0, 0.0, 0.1))


def write_mesh(path: Path) -> None:
    """A tetrahedron as binary STL."""
    path.parent.mkdir(parents=True, exist_ok=True)
    faces = (
        struct.pack("<12fH", 0, 0, 0, *(x for corner in face for x in CORNERS[corner]), 0)
        for face in TRIANGLES
    )
    path.write_bytes(bytes(80) + struct.pack("<I", len(TRIANGLES)) + b"".join(faces))


def write_urdf(path: Path, mesh: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"""<robot name="meshy"><link name="base"/>
  <link name="link"><inertial><mass value="1"/>
      <inertia ixx="1" iyy="1" izz="1" ixy="0" ixz="0" iyz="0"/></inertial>
    <visual><geometry><mesh filename="package://nowhere/link.dae"/></geometry></visual>
    <collision><geometry><mesh scale="1 1 1" filename='{mesh}'/></geometry></collision></link>
  <joint name="joint" type="revolute"><parent link="base"/><child link="link"/><axis xyz="0 0 1"/>
    <limit lower="-1" upper="1" velocity="1" effort="1"/></joint></robot>""")
    return path


@pytest.mark.parametrize(
    ("mesh", "place"),
    [
        ("package://my_arm/meshes/link.stl", "my_arm/meshes/link.stl"),
        ("package://my_arm/meshes/link.stl", "my_arm/urdf/my_arm/meshes/link.stl"),
        ("model://other/link.stl", "other/link.stl"),
        ("../meshes/link.stl", "my_arm/meshes/link.stl"),
        ("file://{root}/somewhere/link.stl", "somewhere/link.stl"),
        ("{root}/somewhere/link.stl", "somewhere/link.stl"),
        ("package://installed/link.stl", "ros/share/installed/link.stl"),
    ],
)
def test_pinocchio_and_mujoco_find_the_mesh(
    mesh: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"/nowhere:{tmp_path / 'ros'}")
    write_mesh(tmp_path / place)
    urdf = write_urdf(tmp_path / "my_arm/urdf/arm.urdf", mesh.format(root=tmp_path))
    text = urdf_text(urdf)
    shapes = pin.buildGeomFromUrdfString(load_urdf(urdf), text, pin.GeometryType.COLLISION)
    assert shapes.ngeoms == 1
    assert mujoco.MjSpec.from_string(text).compile().nmesh == 1
    assert "package://nowhere/link.dae" in text, "a picture's mesh may be missing"


def test_the_error_names_a_missing_mesh_and_where_it_was_searched(
    params: Params, tmp_path: Path
) -> None:
    urdf = write_urdf(tmp_path / "arm.urdf", "package://my_arm/link.stl")
    robot = params.robot.model_copy(update={"urdf": urdf})
    with pytest.raises(ModelError, match=r"package://my_arm/link\.stl.*beside and above it"):
        CollisionChecker(robot, params.task)


def test_a_mesh_whose_name_is_escaped_in_xml_is_found(tmp_path: Path) -> None:
    write_mesh(tmp_path / "meshes/link & pen.stl")
    urdf = write_urdf(tmp_path / "arm.urdf", "meshes/link &amp; pen.stl")
    assert mujoco.MjSpec.from_string(urdf_text(urdf)).compile().nmesh == 1


def test_a_description_without_meshes_keeps_its_content(params: Params) -> None:
    read = urdf_text(params.robot.urdf)
    assert canonicalize(read) == canonicalize(params.robot.urdf.read_text())


def test_a_file_that_is_not_xml_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "arm.urdf").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ModelError, match="not readable as URDF: not well-formed XML"):
        load_urdf(tmp_path / "arm.urdf")

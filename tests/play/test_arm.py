"""The shapes that are drawn are those of the URDF, where the kinematics puts them."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pinocchio as pin
import pytest

from pipeline.params import Params, load_params
from pipeline.play.arm import GREY, ArmShapes
from pipeline.robot.model import RobotModel

REPOSITORY = Path(__file__).parents[2]
MESH = """solid box
facet normal 0 0 1
outer loop
vertex 0 0 0
vertex 0.1 0 0
vertex 0 0.1 0
endloop
endfacet
endsolid box
"""


def test_every_visual_shape_is_drawn_in_its_colour(params: Params) -> None:
    root = ElementTree.parse(params.robot.urdf).getroot()
    links = [link.get("name", "") for link in root.iter("link") for _ in link.findall("visual")]
    shapes = ArmShapes(params.robot).shapes
    assert sorted(shape.link for shape in shapes) == sorted(links)
    assert {shape.colour for shape in shapes} == {(222, 227, 232), (56, 64, 74)}
    assert {len(shape.size) for shape in shapes} == {2, 3}


def test_the_last_body_carries_the_gripper(params: Params) -> None:
    arm, model = ArmShapes(params.robot), RobotModel.from_params(params.robot)
    joint_pos = np.array([0.4, -0.2, 0.9, 0.3, 1.1, -0.7])
    poses = arm.poses(joint_pos)
    assert poses[0] == pytest.approx([0, 0, 0, 1, 0, 0, 0]), "the base does not move"
    tcp = model.tcp(joint_pos)
    ahead = pin.Quaternion(*poses[-1, 3:]).toRotationMatrix()[:, 2]
    assert poses[-1, :3] + ahead * 0.12 == pytest.approx(tcp.translation, abs=1e-9)


def test_an_arm_on_a_rail_moves_along_it() -> None:
    robot = load_params(REPOSITORY / "examples" / "rail_arm.yaml").robot
    robot = robot.model_copy(
        update={name: REPOSITORY / getattr(robot, name) for name in ("urdf", "srdf")}
    )
    arm = ArmShapes(robot)
    moved = arm.model.home.copy()
    moved[0] += 0.2
    offset = arm.poses(moved) - arm.poses(arm.model.home)
    assert np.linalg.norm(offset[1:, :3], axis=1) == pytest.approx(0.2)


def test_meshes_are_drawn_and_collision_shapes_where_there_are_no_others(
    params: Params, tmp_path: Path
) -> None:
    root = ElementTree.parse(params.robot.urdf).getroot()
    for link in root.iter("link"):
        for visual in link.findall("visual"):
            link.remove(visual)
    bare = tmp_path / "bare.urdf"
    ElementTree.ElementTree(root).write(bare)
    robot = params.robot.model_copy(update={"urdf": bare})
    without = ArmShapes(robot).shapes
    assert len(without) >= 10 and {shape.colour for shape in without} == {GREY}

    (tmp_path / "part.stl").write_text(MESH)
    visual = ElementTree.SubElement(next(root.iter("link")), "visual")
    geometry = ElementTree.SubElement(visual, "geometry")
    ElementTree.SubElement(geometry, "mesh", filename="part.stl", scale="2 2 2")
    ElementTree.ElementTree(root).write(bare)
    [shape] = ArmShapes(robot).shapes
    assert len(shape.size) == 0 and shape.faces.shape == (1, 3)
    assert shape.vertices.max() == pytest.approx(0.2)

"""The rendered scene holds the arm, a floor, the object, and each frame's obstacles."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from pipeline.params import Params
from pipeline.robot.render_worker import VISUAL_GROUP, add_shape, build


def test_the_scene_holds_the_arm_s_joints_the_floor_and_the_object(params: Params) -> None:
    task = {
        "urdf": params.robot.urdf.read_text(), "joints": np.array(params.robot.joints),
        "table_m": -0.01,
        "length_m": 0.12, "radius_m": 0.006, "width": 80, "height": 60,
    }  # fmt: skip
    model = build(task)
    assert [model.joint(i).name for i in range(model.njnt)] == list(params.robot.joints)
    assert model.nmocap == 1
    shape = model.geom(int(model.body("object").geomadr[0]))
    assert shape.group == VISUAL_GROUP
    assert 2 * (shape.size[0] + shape.size[1]) == np.float64(0.12)
    planes = model.geom_pos[(model.geom_bodyid == 0) & (model.geom_type == 0)]
    assert planes[:, 2].tolist() == [-0.01]


def test_obstacles_have_their_kind_size_and_pose() -> None:
    scene = mujoco.MjvScene(mujoco.MjModel.from_xml_string("<mujoco/>"), 4)
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    task = {
        "shape_kind": np.array(["box", "cylinder", "sphere"]),
        "shape_size_m": np.array([[0.1, 0.2, 0.3], [0.1, 0.4, 0.0], [0.2, 0.0, 0.0]]),
        "shape_centre": np.array([[0.4, 0.0, 0.7]] * 3),
        "shape_turn": np.stack([turn] * 3),
    }
    for shape in range(3):
        add_shape(scene, task, shape)
    drawn = scene.geoms[: scene.ngeom]
    kinds = ("BOX", "CYLINDER", "SPHERE")
    assert [geom.type for geom in drawn] == [getattr(mujoco.mjtGeom, f"mjGEOM_{k}") for k in kinds]
    # MuJoCo keeps half the extents of a drawn shape along x, y and z.
    sizes = np.stack([geom.size for geom in drawn])
    assert sizes == pytest.approx(np.array([[0.1, 0.2, 0.3], [0.1, 0.1, 0.4], [0.2, 0.2, 0.2]]))
    assert drawn[1].pos == pytest.approx([0.4, 0.0, 0.7])
    assert drawn[1].mat == pytest.approx(turn)

"""The rendered scene holds the arm, a floor, the obstacles and the object."""

from __future__ import annotations

import numpy as np

from pipeline.params import Params
from pipeline.robot.render_worker import VISUAL_GROUP, build


def test_the_scene_holds_the_arm_s_joints_the_floor_and_the_object(params: Params) -> None:
    task = {
        "urdf": params.robot.urdf.read_text(), "joints": np.array(params.robot.joints),
        "table_m": -0.01,
        "length_m": 0.12, "radius_m": 0.006, "width": 80, "height": 60,
        "boxes": np.array([[0.4, 0, 0.7, 0.01, 0.05, 0.02]]), "base_quaternion": [1, 0, 0, 0],
    }  # fmt: skip
    model = build(task)
    assert [model.joint(i).name for i in range(model.njnt)] == list(params.robot.joints)
    assert model.nmocap == 1
    shape = model.geom(int(model.body("object").geomadr[0]))
    assert shape.group == VISUAL_GROUP
    assert 2 * (shape.size[0] + shape.size[1]) == np.float64(0.12)
    boxes = model.geom_size[(model.geom_bodyid == 0) & (model.geom_type == 6)]
    assert boxes.tolist() == [[0.01, 0.05, 0.02]]
    planes = model.geom_pos[(model.geom_bodyid == 0) & (model.geom_type == 0)]
    assert planes[:, 2].tolist() == [-0.01]

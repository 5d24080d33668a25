"""Child process of `pipeline.robot.render`: renders arms with MuJoCo off screen.

A graphics library without a driver may crash its process; here that only loses the frames. The
command line gives the paths of an .npz (what to render) and of a .npy (the frames to write), and
MUJOCO_GL the platform. It imports nothing of the pipeline.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

VISUAL_GROUP = 1
"""The group in which MuJoCo puts a URDF's <visual> shapes; <collision> shapes are in group 0."""
FIELD_OF_VIEW_DEG = 40.0
AZIMUTH_DEG, ELEVATION_DEG = 142.0, -18.0
"""The camera looks from the front right and slightly from above."""
OBSTACLE_RGBA = [0.80, 0.47, 0.65, 0.75]
"""Translucent, so that the arm behind an obstacle stays visible."""


def build(task: Mapping[str, Any]) -> Any:
    """Build the arm, a floor and the object.

    Args:
        task: what to render, see `draw`.

    Returns:
        A compiled MuJoCo model; the object is its only mocap body.
    """
    spec = mujoco.MjSpec.from_string(str(task["urdf"]))
    for joint in list(spec.joints):
        if joint.name not in task["joints"]:
            spec.delete(joint)
    world = spec.worldbody
    spec.add_texture(
        name="floor", type=mujoco.mjtTexture.mjTEXTURE_2D,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_CHECKER,
        width=256, height=256, rgb1=[0.80, 0.82, 0.85], rgb2=[0.72, 0.75, 0.78],
    )  # fmt: skip
    textures = [""] * mujoco.mjtTextureRole.mjNTEXROLE
    textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = "floor"
    spec.add_material(name="floor", textures=textures, texrepeat=[20, 20], emission=0.4)
    spec.add_texture(
        name="sky", type=mujoco.mjtTexture.mjTEXTURE_SKYBOX,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
        width=64, height=384, rgb1=[0.70, 0.78, 0.86], rgb2=[0.88, 0.91, 0.94],
    )  # fmt: skip
    world.add_geom(
        type=mujoco.mjtGeom.mjGEOM_PLANE, size=[5, 5, 0.1], pos=[0, 0, float(task["table_m"])],
        material="floor", group=VISUAL_GROUP,
    )  # fmt: skip
    # A capsule's half length does not include its round ends.
    radius, half = float(task["radius_m"]), float(task["length_m"]) / 2
    # A mocap body can be moved; a geom of the world body cannot.
    world.add_body(name="object", mocap=True).add_geom(
        type=mujoco.mjtGeom.mjGEOM_CAPSULE,
        size=[radius, max(half - radius, radius / 10), 0], rgba=[0.0, 0.62, 0.45, 1],
        group=VISUAL_GROUP,
    )  # fmt: skip
    # Shadows would take four fifths of the time of a software renderer.
    world.add_light(pos=[1, -1, 2.5], dir=[-0.4, 0.4, -1], castshadow=False)
    spec.visual.global_.offwidth = int(task["width"])
    spec.visual.global_.offheight = int(task["height"])
    spec.visual.global_.fovy = FIELD_OF_VIEW_DEG
    spec.visual.headlight.ambient = [0.45, 0.45, 0.45]
    return spec.compile()


def add_shape(scene: Any, task: Mapping[str, Any], shape: int) -> None:
    """Add an obstacle to the present frame.

    Args:
        scene: what is drawn in this frame.
        task: what to render, see `draw`.
        shape: index of the obstacle.
    """
    kind = getattr(mujoco.mjtGeom, f"mjGEOM_{task['shape_kind'][shape].upper()}")
    mujoco.mjv_initGeom(
        scene.geoms[scene.ngeom], kind, task["shape_size_m"][shape], task["shape_centre"][shape],
        task["shape_turn"][shape].ravel(), np.array(OBSTACLE_RGBA, np.float32),
    )  # fmt: skip
    scene.ngeom += 1


def draw(task: Mapping[str, Any]) -> NDArray[np.uint8]:
    """Render one frame per pose.

    Args:
        task: `urdf`, its text with meshes by full path; `joints`, names (J,); `joint_pos` (F, J),
            rad; `object_pos` and `object_axis` (F, 3), m and unit vectors in the world; `length_m`
            and `radius_m` of the object; `table_m`, height of the floor; of the M obstacles of all
            frames `shape_frame` (M,), `shape_kind` (M,) (box, cylinder or sphere), `shape_size_m`
            (M, 3), `shape_centre` (M, 3), m in the world, and `shape_turn` (M, 3, 3); `centre` (3,)
            and `extent_m`, m, of the visible region; `width` and `height`, pixels.

    Returns:
        RGB, shape (F, height, width, 3).
    """
    model = build(task)
    data = mujoco.MjData(model)
    columns = [model.joint(str(name)).qposadr[0] for name in task["joints"]]
    camera = mujoco.MjvCamera()
    camera.lookat = np.asarray(task["centre"])
    camera.distance = float(task["extent_m"]) / np.sin(np.radians(FIELD_OF_VIEW_DEG / 2))
    camera.azimuth, camera.elevation = AZIMUTH_DEG, ELEVATION_DEG
    option = mujoco.MjvOption()
    option.geomgroup[:] = 0
    has_visuals = (model.geom_group[model.geom_bodyid > 0] == VISUAL_GROUP).any()
    option.geomgroup[[VISUAL_GROUP] if has_visuals else [0, VISUAL_GROUP]] = 1
    width, height = int(task["width"]), int(task["height"])
    frames = np.empty((len(task["joint_pos"]), height, width, 3), np.uint8)
    with mujoco.Renderer(model, height, width) as renderer:
        poses = zip(task["joint_pos"], task["object_pos"], task["object_axis"], strict=True)
        for number, (joint_pos, position, axis) in enumerate(poses):
            data.qpos[columns] = joint_pos
            data.mocap_pos[0] = position
            mujoco.mju_quatZ2Vec(data.mocap_quat[0], axis)
            mujoco.mj_forward(model, data)
            renderer.update_scene(data, camera, option)
            for shape in np.flatnonzero(task["shape_frame"] == number).tolist():
                add_shape(renderer.scene, task, shape)
            renderer.render(out=frames[number])
    return frames


if __name__ == "__main__":
    with np.load(sys.argv[1]) as archive:
        pictures = draw({name: archive[name] for name in archive.files})
    np.save(sys.argv[2], pictures)

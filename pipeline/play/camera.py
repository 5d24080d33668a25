"""Where the camera of the page stands, and how near to it things are drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import viser
from numpy.typing import NDArray

from pipeline.robot.model import RobotModel

Array = NDArray[np.float64]
CAMERA_M, LOOK_AT_M = (1.80, -1.20, 1.05), (0.32, 0.13, 0.42)
"""The camera looks from the front right and slightly from above, base frame."""
FIELD_OF_VIEW_RAD = 0.7
NARROW_CAMERA_M, NARROW_LOOK_AT_M = (2.35, -2.0, 0.75), (0.25, 0.05, -0.05)
"""In a narrow window, whose lower half the controls cover, the arm is further away and higher."""
NEAR_M, CLOSE_M = 1.02, 0.01
"""Nearest distance that is drawn from afar and from close up, m. viser's client draws an empty
background 1 m before the camera, over the whole picture. Without a GPU it takes a fifth of the time
of a frame, and a near plane beyond it leaves it out."""
MARGIN_M = 0.08
"""The fingers reach so much further than the furthest of the drawn poses, m."""
DRAWS = 2000


def set_camera(server: viser.ViserServer, model: RobotModel) -> None:
    """Place the camera of each client.

    Args:
        server: the page's server.
        model: the arm, which the near plane must not cut.
    """
    reach = reach_m(model)

    def move(camera: Any) -> None:
        camera.near = near_m(camera.position, reach)

    def connect(client: Any) -> None:
        if client.camera.aspect < 1:
            client.camera.position, client.camera.look_at = NARROW_CAMERA_M, NARROW_LOOK_AT_M
        client.camera.on_update(move)

    camera = server.initial_camera
    camera.position, camera.look_at, camera.fov = CAMERA_M, LOOK_AT_M, FIELD_OF_VIEW_RAD
    camera.near = near_m(np.array(CAMERA_M), reach)
    server.on_client_connect(connect)


def reach_m(model: RobotModel) -> float:
    """Estimate how far the arm reaches from the origin of its base frame, from random poses.

    Args:
        model: the arm.

    Returns:
        m.
    """
    rng = np.random.default_rng(0)
    drawn = rng.uniform(model.lower, model.upper, (DRAWS, len(model.home)))
    return float(np.linalg.norm(model.fk(drawn)[:, :3], axis=1).max()) + MARGIN_M


def near_m(position: Array, reach: float) -> float:
    """Choose the nearest distance that is drawn, so that nothing of the arm is cut off.

    Args:
        position: of the camera, base frame, m. Shape (3,).
        reach: of the arm, m.

    Returns:
        m.
    """
    return NEAR_M if np.linalg.norm(position) > reach + NEAR_M else CLOSE_M

"""Draws the arm, the table, the object and lines in a viser scene, and moves them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import viser
from numpy.typing import NDArray

from pipeline.obstacles import OBSTACLE
from pipeline.params import Params
from pipeline.play.arm import ArmShapes, Shape, obstacle_shape
from pipeline.play.camera import set_camera
from pipeline.robot.model import axis_quaternion

Array = NDArray[np.float64]
Colour = tuple[int, int, int]
OBJECT, BOX, TOUCHED = (0, 158, 115), (204, 121, 167), (215, 25, 28)
WANTED, SENT, EXPERT, DEMONSTRATION = (0, 114, 178), (230, 140, 0), (120, 128, 138), (148, 82, 180)
LINE_PIXELS = 3.0
"""Thickness of lines. Lines whose thickness is in metres are drawn twice."""
GIZMO_M = 0.16
"""Length of the arrows by which things are dragged, m."""
SEGMENTS = 20
"""Sides of a drawn cylinder. Few, because a browser without a GPU draws each triangle slowly."""
TABLE, TABLE_M, TABLE_CELL_M = (196, 202, 210), ((-0.6, -0.8), (1.0, 0.8)), 0.2
"""Colour of the lines on the table, the corners of the drawn part, and their distance, m."""


class ArmView:
    """An arm whose links can be moved and marked."""

    def __init__(
        self, server: viser.ViserServer, name: str, shapes: ArmShapes, opacity: float | None = None
    ) -> None:
        """Draw the arm.

        Args:
            server: where to draw.
            name: name of its node in the scene.
            shapes: the arm's shapes.
            opacity: 0 to 1; None for an opaque arm.
        """
        self._shapes = shapes
        self._root = server.scene.add_frame(f"/{name}", show_axes=False)
        self._bodies = [
            server.scene.add_frame(f"/{name}/{body}", show_axes=False)
            for body in range(len(shapes.poses(shapes.model.home)))
        ]
        self._parts = [
            (shape, _draw(server, f"/{name}/{shape.body}/{index}", shape, opacity))
            for index, shape in enumerate(shapes.shapes)
        ]
        self._marked: frozenset[str] = frozenset()
        self.move(shapes.model.home)

    @property
    def visible(self) -> bool:
        """Whether the arm is shown."""
        return bool(self._root.visible)

    @visible.setter
    def visible(self, visible: bool) -> None:
        if visible != self._root.visible:
            self._root.visible = visible

    def move(self, joint_pos: Array) -> None:
        """Move the links.

        Args:
            joint_pos: rad. Shape (J,).
        """
        for body, pose in zip(self._bodies, self._shapes.poses(joint_pos), strict=True):
            body.position, body.wxyz = pose[:3], pose[3:]

    def mark(self, links: Collection[str]) -> None:
        """Paint some links red and all others in their own colour.

        Args:
            links: names of the links.
        """
        marked = frozenset(links)
        for shape, part in self._parts:
            if (shape.link in marked) != (shape.link in self._marked):
                part.color = TOUCHED if shape.link in marked else shape.colour
        self._marked = marked


def _draw(server: viser.ViserServer, name: str, shape: Shape, opacity: float | None) -> Any:
    """Draw one shape below its body's node."""
    look = {
        "color": shape.colour,
        "opacity": opacity,
        "position": shape.pose[:3],
        "wxyz": shape.pose[3:],
        "cast_shadow": opacity is None,
    }
    if len(shape.size) == 3:
        return server.scene.add_box(name, dimensions=tuple(shape.size), **look)
    if len(shape.size) == 2:
        radius, length = shape.size
        return server.scene.add_cylinder(
            name, radius=radius, height=length, radial_segments=SEGMENTS, **look
        )
    if len(shape.size) == 1:
        return server.scene.add_icosphere(name, radius=shape.size[0], **look)
    return server.scene.add_mesh_simple(name, shape.vertices, shape.faces, **look)


class Scene:
    """Everything that is drawn. Lines are named; drawing one again moves it."""

    def __init__(self, server: viser.ViserServer, params: Params) -> None:
        """Draw arm, table, object and the boxes of the scene in params.yaml.

        Args:
            server: where to draw.
            params: sections robot and task.
        """
        self.server, self._task = server, params.task
        shapes = ArmShapes(params.robot)
        self.model = shapes.model
        self.arm = ArmView(server, "arm", shapes)
        self.expert = ArmView(server, "expert", shapes, opacity=0.25)
        self.expert.visible = False
        self._lines: dict[str, Any] = {}
        self._draw_room(params.task.table_height_m)
        self.boxes = {
            f"{OBSTACLE} {number}": server.scene.add_box(
                f"/scene/{number}", color=BOX, dimensions=box.size_m, position=box.centre_m
            )
            for number, box in enumerate(params.task.scenes[params.task.scene], start=1)
        }
        """The fixed boxes and those that a user adds, by the collision checker's names."""
        self._fixed, self._placed = len(self.boxes), dict[str, Any]()
        self.handle = server.scene.add_transform_controls(
            "/object", scale=GIZMO_M, line_width=3.0, depth_test=False, disable_sliders=True
        )
        self._object = self._draw_object("/object", OBJECT)
        self._marked: frozenset[str] = frozenset()

    def _draw_room(self, table_m: float) -> None:
        """Set the camera and the lights, and draw the table.

        Shadows and pictures of a surrounding would double the time of a frame without a GPU.
        """
        scene = self.server.scene
        scene.set_up_direction("+z")
        set_camera(self.server, self.model)
        scene.configure_environment_map(None)
        scene.configure_default_lights(cast_shadow=False)
        scene.add_light_hemisphere(
            "/light", sky_color=(255, 255, 255), ground_color=(170, 175, 182), intensity=2.2
        )
        low, high = np.array(TABLE_M)
        lines = [
            np.array([[x, low[1], table_m], [x, high[1], table_m]])
            for x in np.arange(low[0], high[0] + 1e-9, TABLE_CELL_M)
        ] + [
            np.array([[low[0], y, table_m], [high[0], y, table_m]])
            for y in np.arange(low[1], high[1] + 1e-9, TABLE_CELL_M)
        ]
        scene.add_line_segments(
            "/table", np.stack(lines), TABLE, thickness=1.0, thickness_units="screen"
        )

    def _draw_object(self, name: str, colour: Colour, opacity: float | None = None) -> Any:
        """Draw the object below a node, with a ball at the end that is grasped."""
        task, scene = self._task, self.server.scene
        scene.add_icosphere(
            f"{name}/cap", radius=1.3 * task.object_radius_m, color=colour, opacity=opacity,
            subdivisions=1, position=(0.0, 0.0, task.object_length_m / 2),
        )  # fmt: skip
        return scene.add_cylinder(
            f"{name}/body", radius=task.object_radius_m, height=task.object_length_m,
            radial_segments=SEGMENTS, color=colour, opacity=opacity,
        )  # fmt: skip

    def place_object(self, position: Array, axis: Array) -> None:
        """Move the object and its gizmo.

        Args:
            position: centre, m. Shape (3,).
            axis: unit axis. Shape (3,).
        """
        self.handle.position, self.handle.wxyz = position, np.roll(axis_quaternion(axis), 1)

    @property
    def object_pose(self) -> tuple[Array, Array]:
        """Where the object is drawn: centre, m, and unit axis."""
        return np.array(self.handle.position), quaternion_axis(self.handle.wxyz)

    def on_drag(self, moved: Callable[[], None]) -> None:
        """Call a function when a user drags or tilts the object.

        Args:
            moved: is called by another thread; `object_pose` is then the new pose.
        """
        self.handle.on_update(lambda _: moved())

    def show_handle(self, visible: bool) -> None:
        """Show or hide the arrows and rings of the object.

        Args:
            visible: whether it can be dragged.
        """
        self.handle.disable_axes = self.handle.disable_rotations = not visible

    def show_object(self, visible: bool) -> None:
        """Show or hide the object.

        Args:
            visible: whether its pose is known.
        """
        self.handle.visible = visible

    def show_obstacles(self, obstacles: Array) -> None:
        """Draw the obstacles of a motion in place of those of the one before.

        Args:
            obstacles: see `pipeline.obstacles`. Shape (M, 12).
        """
        for node in self._placed.values():
            node.remove()
        names = [f"{OBSTACLE} {self._fixed + number}" for number in range(1, len(obstacles) + 1)]
        self._placed = {
            name: _draw(self.server, f"/obstacles/{name}", obstacle_shape(name, row, BOX), None)
            for name, row in zip(names, obstacles, strict=True)
        }
        self._marked = frozenset()

    def mark(self, names: Collection[str]) -> None:
        """Paint what touches red: links, boxes, the object.

        Args:
            names: names of the collision checker.
        """
        marked = frozenset(names)
        if marked == self._marked:
            return
        self._marked = marked
        self.arm.mark(marked)
        self._object.color = TOUCHED if self._task.object in marked else OBJECT
        for name, box in {**self.boxes, **self._placed}.items():
            box.color = TOUCHED if name in marked else BOX

    def line(self, name: str, points: Array | None, colour: Colour = WANTED) -> None:
        """Draw a line, or hide it. A line keeps its node, because a new one costs the browser much.

        Args:
            name: which line.
            points: m, shape (N, 3); None to hide it.
            colour: RGB, the same for each line of this name.
        """
        old = self._lines.get(name)
        shown = points is not None and len(points) > 1
        if old is not None and old.visible != shown:
            old.visible = shown
        if points is None or len(points) < 2:
            return
        segments = np.stack([points[:-1], points[1:]], axis=1).astype(np.float32)
        # A colour for each point from the start: a line that gets them later is drawn white.
        colours = np.tile(_linear(colour), (*segments.shape[:2], 1))
        if old is None:
            self._lines[name] = self.server.scene.add_line_segments(
                f"/lines/{name}", segments, colours, thickness=LINE_PIXELS, thickness_units="screen"
            )
            return
        if len(segments) != len(old.points):
            old.colors = colours
        old.points = segments


def _linear(colour: Colour) -> NDArray[np.uint8]:
    """Colours of points are linear, those of whole nodes sRGB (IEC 61966-2-1)."""
    share = np.array(colour) / 255
    low, high = share / 12.92, ((share + 0.055) / 1.055) ** 2.4
    return np.round(255 * np.where(share <= 0.04045, low, high)).astype(np.uint8)


def quaternion_axis(wxyz: Array) -> Array:
    """Compute the z axis of an orientation.

    Args:
        wxyz: unit quaternion. Shape (4,).

    Returns:
        Unit vector. Shape (3,).
    """
    w, x, y, z = (float(value) for value in wxyz)
    return np.array([2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)])

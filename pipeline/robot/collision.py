"""Checks whether the arm touches itself, the table, an obstacle or the object.

Uses the collision shapes of the URDF and the pairs that the SRDF does not disable.
"""

from __future__ import annotations

import coal
import numpy as np
import pinocchio as pin
from numpy.typing import NDArray

from pipeline.obstacles import COLUMNS, OBSTACLE
from pipeline.params import RobotParams, TaskParams
from pipeline.robot.arrangement import collision_shape, scene_obstacles
from pipeline.robot.chain import levers
from pipeline.robot.description import urdf_text
from pipeline.robot.model import ModelError, RobotModel, load_urdf

Array = NDArray[np.float64]

TABLE_HALF_WIDTH_M = 5.0
TABLE_THICKNESS_M = 0.5
SPACING_M = 0.002
"""Largest travel of any point of the arm between two checks of a swept motion, m; a sixth of the
pen's thickness."""
CLEAR_M = 0.02
"""If every distance at a sample exceeds this, the motion is also free up to half this travel on
either side, m; half, because both parts of a pair may move."""


class CollisionChecker:
    """Checks arm, gripper, table, obstacles and object, except the pairs that the SRDF disables.

    The object is at rest in the base frame and is checked against every link, including the gripper
    and the fingers.
    """

    def __init__(
        self,
        robot: RobotParams,
        task: TaskParams,
        clearance_m: float = 0.0,
        object_clearance_m: float = 0.0,
    ) -> None:
        """Build the scene.

        Args:
            robot: description files and base link.
            task: size of the object, height of the table, obstacles.
            clearance_m: length added to obstacles on every side, m.
            object_clearance_m: length added to the object's radius, m.

        Raises:
            ModelError: the URDF or SRDF is missing or unreadable, or the URDF has no collision
                shapes.
        """
        full = load_urdf(robot.urdf)
        try:
            text = urdf_text(robot.urdf)
            shapes = pin.buildGeomFromUrdfString(full, text, pin.GeometryType.COLLISION)
        except (ValueError, RuntimeError) as error:
            raise ModelError(
                f"{robot.urdf}: the collision shapes cannot be read: {error} Meshes are searched "
                "relative to the URDF, and package://NAME/ in folders NAME beside and above it"
            ) from error
        if not len(shapes.geometryObjects):
            raise ModelError(f"{robot.urdf}: no link has a <collision>, expected shapes to check")
        self.model = RobotModel(robot, full, shapes)
        self._fixed = self.model.geometry
        self._to_base = self.model.world_base
        self._clearance_m = clearance_m
        box = coal.Box(2 * TABLE_HALF_WIDTH_M, 2 * TABLE_HALF_WIDTH_M, TABLE_THICKNESS_M)
        below = np.array([0.0, 0.0, task.table_height_m - TABLE_THICKNESS_M / 2])
        self._add("table", box, self._to_base * pin.SE3(np.eye(3), below))
        scene = scene_obstacles(task)
        self._num_fixed = len(scene)
        for number, row in enumerate(scene, start=1):
            self._fixed.addGeometryObject(self._obstacle(number, row))
        # A capsule's length excludes its round ends; the object keeps its full length.
        straight = max(task.object_length_m - 2 * task.object_radius_m, 0.0)
        capsule = coal.Capsule(task.object_radius_m + object_clearance_m, straight)
        self._object = self._add(task.object, capsule, pin.SE3.Identity())
        self._fixed.addAllCollisionPairs()
        if not robot.srdf.is_file():
            raise ModelError(f"{robot.srdf}: no such file; robot.srdf must name an SRDF")
        pin.removeCollisionPairs(self.model.pinocchio, self._fixed, str(robot.srdf), False)
        self._data = self.model.pinocchio.createData()
        self._lever = levers(self.model, self._fixed)
        self.obstacles: Array = np.zeros((0, COLUMNS))
        """Obstacles in addition to those of the scene. Shape (M, 12)."""
        self._prepare(self._fixed)

    def place_obstacles(self, obstacles: Array) -> None:
        """Replace the obstacles that stand around the arm in addition to those of the scene.

        Args:
            obstacles: see `pipeline.obstacles`, base frame. Shape (M, 12).
        """
        if np.array_equal(obstacles, self.obstacles):
            return
        self.obstacles = np.array(obstacles, dtype=float)
        scene = self._fixed.copy()
        links = [i for i, shape in enumerate(scene.geometryObjects) if shape.parentJoint > 0]
        for number, row in enumerate(self.obstacles, start=self._num_fixed + 1):
            index = scene.addGeometryObject(self._obstacle(number, row))
            for link in links:
                scene.addCollisionPair(pin.CollisionPair(link, index))
        self._prepare(scene)

    def _obstacle(self, number: int, row: Array) -> pin.GeometryObject:
        pose = self._to_base * pin.SE3(pin.Quaternion(row[3:7]).toRotationMatrix(), row[:3])
        shape = collision_shape(row, self._clearance_m)
        return pin.GeometryObject(f"{OBSTACLE} {number}", 0, 0, pose, shape)

    def _prepare(self, scene: pin.GeometryModel) -> None:
        """Build the structures that the checks use."""
        self._scene = scene
        self._placed: tuple[float, ...] = ()
        self._results = scene.createData()
        # Most pairs are far apart; checking bounding boxes first takes a third of the time.
        self._broad = pin.BroadPhaseManager_DynamicAABBTreeCollisionManager(
            self.model.pinocchio, self._scene, self._results
        )
        self._at_first = pin.CollisionCallBackDefault(self._scene, self._results, True)
        clear = scene.createData()
        for request in clear.collisionRequests:
            request.security_margin = CLEAR_M
        self._broad_clear = pin.BroadPhaseManager_DynamicAABBTreeCollisionManager(
            self.model.pinocchio, self._scene, clear
        )
        self._at_first_clear = pin.CollisionCallBackDefault(self._scene, clear, True)

    def _add(self, name: str, shape: coal.CollisionGeometry, placement: pin.SE3) -> int:
        # Parent joint 0 is the world; pairs that are both fixed to it are never checked.
        geometry = pin.GeometryObject(name, 0, 0, placement, shape)
        return int(self._fixed.addGeometryObject(geometry))

    def _place(self, object_pos: Array, object_axis: Array) -> None:
        here = (*object_pos, *object_axis)
        if here == self._placed:
            return
        self._placed = here
        turn = pin.Quaternion.FromTwoVectors(np.array([0.0, 0.0, 1.0]), object_axis)
        pose = self._to_base * pin.SE3(turn.toRotationMatrix(), np.asarray(object_pos))
        self._scene.geometryObjects[self._object].placement = pose

    def _check(self, joint_pos: Array) -> bool:
        return bool(
            pin.computeCollisions(
                self.model.pinocchio,
                self._data,
                self._broad,
                self._at_first,
                self.model.configuration(joint_pos),
            )
        )

    def _is_clear(self, joint_pos: Array) -> bool:
        """Whether the distance of every pair is larger than CLEAR_M."""
        return not pin.computeCollisions(
            self.model.pinocchio,
            self._data,
            self._broad_clear,
            self._at_first_clear,
            self.model.configuration(joint_pos),
        )

    def _check_every_pair(self, joint_pos: Array) -> bool:
        return bool(
            pin.computeCollisions(
                self.model.pinocchio,
                self._data,
                self._scene,
                self._results,
                self.model.configuration(joint_pos),
                False,
            )
        )

    def collides(self, joint_pos: Array, object_pos: Array, object_axis: Array) -> bool:
        """Tell whether any pair touches.

        Args:
            joint_pos: joint positions, rad. Shape (J,).
            object_pos: centre of the object in the base frame, m. Shape (3,).
            object_axis: unit axis of the object in the base frame. Shape (3,).
        """
        self._place(object_pos, object_axis)
        return self._check(joint_pos)

    def colliding(
        self, joint_pos: Array, object_pos: Array, object_axis: Array
    ) -> NDArray[np.bool_]:
        """Tell which samples of a motion touch something.

        Args:
            joint_pos: joint positions, rad. Shape (T, J).
            object_pos: centre of the object in the base frame, m. Shape (3,).
            object_axis: unit axis of the object in the base frame. Shape (3,).

        Returns:
            Whether each sample touches something. Shape (T,).
        """
        self._place(object_pos, object_axis)
        return np.fromiter((self._check(q) for q in joint_pos), np.bool_, len(joint_pos))

    def first_contact(
        self, joint_pos: Array, object_pos: Array, object_axis: Array
    ) -> tuple[int, str, str] | None:
        """Find the first contact of a motion, also between its samples.

        Samples are joined by straight lines in joint space. The lines are checked so densely that
        no point of the arm moves further than SPACING_M from one check to the next.

        Args:
            joint_pos: joint positions, rad. Shape (T, J).
            object_pos: centre of the object in the base frame, m. Shape (3,).
            object_axis: unit axis of the object in the base frame. Shape (3,).

        Returns:
            The sample at which, or before which, the contact occurs, and the two names (link,
            table, obstacle or object); None if nothing touches.
        """
        self._place(object_pos, object_axis)
        travel = np.zeros(len(joint_pos))
        travel[1:] = np.cumsum(np.abs(np.diff(joint_pos, axis=0)) @ self._lever)
        wanted = np.linspace(0.0, travel[-1], int(np.ceil(travel[-1] / SPACING_M)) + 1)
        dense = np.stack([np.interp(wanted, travel, values) for values in joint_pos.T], axis=1)
        half = int(CLEAR_M / 2 / SPACING_M + 1e-9)
        for first in range(0, len(dense), 2 * half + 1):
            block = dense[first : first + 2 * half + 1]
            if self._is_clear(block[len(block) // 2]):
                continue
            for index, sample in enumerate(block, start=first):
                pair = self._check(sample) and self.touching(sample, object_pos, object_axis)
                if pair:
                    return int(np.searchsorted(travel, wanted[index])), *pair
        return None

    def touching(
        self, joint_pos: Array, object_pos: Array, object_axis: Array
    ) -> tuple[str, str] | None:
        """Find the first pair that touches.

        Args:
            joint_pos: joint positions, rad. Shape (J,).
            object_pos: centre of the object in the base frame, m. Shape (3,).
            object_axis: unit axis of the object in the base frame. Shape (3,).

        Returns:
            Two names (link, table, obstacle or object), or None if nothing touches.
        """
        self._place(object_pos, object_axis)
        if not self._check_every_pair(joint_pos):
            return None
        hits = [result.isCollision() for result in self._results.collisionResults]
        pair = self._scene.collisionPairs[hits.index(True)]
        return self._link(pair.first), self._link(pair.second)

    def clearance(self, joint_pos: Array) -> float:
        """Compute the smallest distance between the arm and all obstacles.

        Args:
            joint_pos: joint positions of a motion, rad. Shape (T, J).

        Returns:
            m, negative where they overlap; infinite without obstacles. Motion between the samples
            is not considered.
        """
        scene = self._scene.copy()
        scene.removeAllCollisionPairs()
        for pair in self._scene.collisionPairs:
            if self._link(pair.second).startswith(OBSTACLE):
                scene.addCollisionPair(pair)
        found, arm, least = scene.createData(), self.model, float("inf")
        for sample in joint_pos if len(scene.collisionPairs) else ():
            at = pin.computeDistances(
                arm.pinocchio, self._data, scene, found, arm.configuration(sample)
            )
            least = min(least, found.distanceResults[at].min_distance)
        return least

    def _link(self, geometry: int) -> str:
        shape = self._scene.geometryObjects[geometry]
        if shape.parentFrame == 0:
            return str(shape.name)
        return str(self.model.pinocchio.frames[shape.parentFrame].name)

"""The expert, which plans the present object in a thread of its own, and shows its plan."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.obstacles import parse
from pipeline.params import Params
from pipeline.play.simulation import Box
from pipeline.robot.arrangement import sample_object
from pipeline.robot.planner import Planner
from pipeline.robot.retime import Plan

Array = NDArray[np.float64]
TRIES = 50
"""Largest number of objects drawn until the expert reaches one."""


class Expert:
    """Plans from home, as the demonstrations were planned."""

    def __init__(self, params: Params, seed: int = 0) -> None:
        """Set up the planner.

        Args:
            params: sections robot, task and collect.
            seed: seed of random objects and of `collect.ik: random`.
        """
        self._task = params.task
        self._planner = Planner(params.robot, params.task, params.collect)
        self._rng = np.random.default_rng(np.random.SeedSequence([seed, 0x91A7]))
        self._lock = threading.Lock()

    def place(self, boxes: Sequence[Box]) -> None:
        """Plan around boxes from now on.

        Args:
            boxes: all boxes besides those of the scene in params.yaml.
        """
        with self._lock:
            self._planner.checker.place_obstacles(parse(boxes))

    def random_object(self) -> tuple[Array, Array]:
        """Draw an object from the task's range, if possible one that the expert reaches.

        Returns:
            Centre, m, and unit axis.
        """
        with self._lock:
            for _ in range(TRIES):
                position, axis = sample_object(self._task, self._rng)
                if self._planner.plan(position, axis, self._rng) is not None:
                    break
            return position, axis

    def plan(self, position: Array, axis: Array) -> tuple[Plan | None, str]:
        """Plan a motion to an object.

        Args:
            position: centre, m. Shape (3,).
            axis: unit axis. Shape (3,).

        Returns:
            The plan and an empty text, or None and the reason.
        """
        with self._lock:
            plan = self._planner.plan(position, axis, self._rng)
            return plan, "" if plan is not None else str(self._planner.reason)

    def in_background(
        self, position: Array, axis: Array, done: Callable[[Plan | None, str], None]
    ) -> threading.Thread:
        """Plan in a thread, so that the picture does not stop.

        Args:
            position: centre, m. Shape (3,).
            axis: unit axis. Shape (3,).
            done: called in that thread with the result of `plan`.
        """
        thread = threading.Thread(
            target=lambda: done(*self.plan(position, axis)), name="expert", daemon=True
        )
        thread.start()
        return thread

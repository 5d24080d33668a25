"""Lines and areas of obstacles lie where the obstacles are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.evaluation.report.outlines import outline, trial_obstacles, wireframe
from pipeline.evaluation.trials import Trials
from pipeline.obstacles import box, cylinder, distances, sphere
from pipeline.params import Params

Array = NDArray[np.float64]
TILTED = np.array([0.1, 0.5, -0.3, 0.7]) / np.linalg.norm([0.1, 0.5, -0.3, 0.7])
ROWS = {
    "box": box([0.4, 0.1, 0.3], [0.1, 0.2, 0.3], TILTED),
    "cylinder": cylinder([0.4, -0.1, 0.3], 0.1, 0.4, TILTED),
    "sphere": sphere([0.4, 0.1, 0.3], 0.15),
}


@pytest.mark.parametrize("kind", ROWS)
def test_a_wireframe_lies_on_the_surface(kind: str) -> None:
    lines = wireframe(ROWS[kind])
    assert distances(np.concatenate(lines), ROWS[kind][None]) == pytest.approx(0.0, abs=1e-12)
    assert len(lines) == {"box": 12, "cylinder": 6, "sphere": 3}[kind]


@pytest.mark.parametrize("kind", ROWS)
@pytest.mark.parametrize(("right", "up"), [(0, 1), (0, 2)])
def test_an_outline_covers_the_obstacle(kind: str, right: int, up: int) -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(-0.4, 0.4, (20_000, 3)) + ROWS[kind][:3]
    inside = points[distances(points, ROWS[kind][None])[:, 0] < -0.02][:, [right, up]]
    corners = outline(ROWS[kind], right, up)
    edges, away = np.roll(corners, -1, axis=0) - corners, inside[:, None] - corners
    # Corners run anticlockwise: a point inside is to the left of every edge.
    assert (edges[:, 0] * away[..., 1] - edges[:, 1] * away[..., 0] > 0).all()
    assert np.ptp(corners, axis=0) == pytest.approx(
        np.ptp(np.concatenate(wireframe(ROWS[kind]))[:, [right, up]], axis=0)
    )


def test_a_trial_has_the_scene_s_obstacles_and_its_own(params: Params, trials: Trials) -> None:
    task = params.override("task", scene="bar").task
    own = (ROWS["box"][None], np.zeros((0, 12)), np.stack([ROWS["sphere"], ROWS["cylinder"]]))
    arranged = replace(trials, obstacles=own)
    assert [len(trial_obstacles(task, arranged, trial)) for trial in range(3)] == [4, 3, 5]
    assert trial_obstacles(task, arranged, 2)[3:] == pytest.approx(own[2])
    assert len(trial_obstacles(params.task, trials, 0)) == 0

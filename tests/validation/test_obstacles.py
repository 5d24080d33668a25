"""Obstacles of a motion are accepted, or the reason is given."""

import numpy as np
import pytest

from pipeline.obstacles import sphere
from pipeline.recordings.recording import Obstacles
from pipeline.validation.build_batch import build_batch_results
from pipeline.validation.obstacles import obstacle_remarks, require_obstacles
from pipeline.validation.rules import Rejected

ROWS = np.stack([sphere([x, 0, 0], 0.1) for x in range(3)])


def test_a_motion_without_a_scene_has_no_obstacles():
    assert require_obstacles(None).shape == (0, 12)
    assert obstacle_remarks(None) == []


@pytest.mark.parametrize(
    ("problem", "code"),
    [("unresolved", "OBSTACLE_FRAME_UNRESOLVED"), ("invalid", "OBSTACLE_INVALID")],
)
def test_a_problem_rejects_the_motion(problem, code):
    with pytest.raises(Rejected, match=f"{code}: one, two"):
        require_obstacles(Obstacles(0, ROWS, **{problem: ("one", "two")}))


def test_what_is_not_supported_is_one_remark():
    (remark,) = obstacle_remarks(Obstacles(0, ROWS, unsupported=("octomap", "plane of 'a'")))
    assert remark[:2] == ("OBSTACLE_UNSUPPORTED", "octomap, plane of 'a'")


def test_plans_checked_together_have_their_own_obstacles(candidate, source, arm, params):
    items = [candidate(obstacles=Obstacles(0, ROWS[:number])) for number in (2, 0, 3)]
    items += [candidate(obstacles=Obstacles(0, ROWS, invalid=("x",))), candidate()]
    results = build_batch_results(items, source, arm, params.ingest)
    numbers = [None if each.episode is None else len(each.episode.obstacles) for each in results]
    assert numbers == [2, 0, 3, None, 0]
    assert results[3].findings[0].code == "OBSTACLE_INVALID"

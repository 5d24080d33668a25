"""An episode's arrays fit together, and its hash depends on its content alone."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.dataset.episode import EpisodeError
from pipeline.obstacles import sphere

HASH = "9fc9539a114e6380abde573e1dd1a49e596e1ca9dba5a092dc9a5f26308bd9cf"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"joint_vel": np.zeros((12, 6))}, "joint_vel has shape"),
        ({"ee_pose": np.zeros((13, 6))}, "ee_pose has shape"),
        ({"object_pos": np.zeros(4)}, "object_pos has shape"),
        ({"t": np.full(13, 0.1)}, "times must rise"),
        ({"t": np.linspace(0.1, 1, 13)}, "times must rise from 0"),
        ({"object_axis": np.array([0.0, np.nan, 1.0])}, "not finite"),
        ({"obstacles": np.zeros((2, 11))}, "obstacles has shape"),
        ({"obstacles": np.full((2, 12), np.inf)}, "obstacles holds a number that is not finite"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(episode, changes, message):
    with pytest.raises(EpisodeError, match=message):
        episode(**changes)


def test_the_hash_changes_with_the_content_and_not_with_the_origin(episode):
    one = episode()
    other = episode(provenance=replace(one.provenance, source="two", message=9))
    moved = episode(object_pos=one.object_pos + 1e-3)
    assert one.content_hash == other.content_hash
    assert one.content_hash != moved.content_hash


def test_obstacles_are_part_of_the_hash_only_where_there_are_any(episode):
    free = episode()
    assert free.obstacles.shape == (0, 12)
    # The hash before episodes had obstacles: splits and duplicates depend on it.
    assert free.content_hash == HASH
    near, far = (episode(obstacles=sphere([x, 0, 0], 0.1)[None]) for x in (0.4, 0.5))
    assert len({free.content_hash, near.content_hash, far.content_hash}) == 3


def test_the_provenance_has_a_json_form(episode):
    entry = episode().provenance.to_dict()
    assert entry["joint_names"][0] == "joint_1"
    assert entry["derived"] == ["pose by FK"]
    assert episode().duration_s == pytest.approx(1.2)

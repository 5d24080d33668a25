"""Ways to similar goals are counted without knowledge of the arm."""

import json

import numpy as np
import pytest

from pipeline.validation.multimodality import _local_ways, _twist, find_modes

JOINTS = ("a", "b", "c")


def plane(joint_pos):
    """An arm of two links in a plane; its last joint turns the gripper about its own axis."""
    first, second, yaw = np.asarray(joint_pos).T
    pose = np.zeros((len(first), 7))
    pose[:, 0] = np.cos(first) + np.cos(first + second)
    pose[:, 1] = np.sin(first) + np.sin(first + second)
    pose[:, 5], pose[:, 6] = np.sin(yaw / 2), np.cos(yaw / 2)
    return pose


def demonstrations(number=200, elbows=(1,), yaw_rad=0.0):
    """Ends of an arm that reaches goals with its elbow up, down or either. Shapes (E, …)."""
    rng = np.random.default_rng(0)
    bend = rng.uniform(1.2, 1.6, number) * rng.choice(elbows, number)
    reach = rng.uniform(-0.3, 0.3, number)
    ends = np.stack([reach - bend / 2, bend, rng.uniform(-yaw_rad, yaw_rad, number)], axis=1)
    poses = plane(ends)
    objects = np.concatenate([poses[:, :3], np.tile([0.0, 0.0, 1.0], (number, 1))], axis=1)
    return ends, poses, objects


def modes(**options):
    ends, poses, objects = demonstrations(**options)
    return find_modes(JOINTS, ends, poses, objects, plane, 8, 0.5)


def test_one_elbow_is_one_way():
    found = modes()
    assert found.ways == pytest.approx(1.0)
    assert found.other_way_share == 0.0
    assert found.verdict.startswith("one way")
    assert found.free_joints == ("c",)


def test_two_elbows_are_two_ways_and_the_report_says_so():
    found = modes(elbows=(-1, 1))
    assert found.ways == pytest.approx(2.0, abs=0.05)
    assert found.ways_most == 2
    assert found.other_way_share == pytest.approx(0.5, abs=0.1)
    assert found.joint_other_share[1] == pytest.approx(0.5, abs=0.1)
    assert found.verdict.startswith("several ways")
    assert json.loads(json.dumps(found.to_dict()))["free_joints"] == ["c"]


def test_yaw_alone_is_no_way_but_is_reported():
    found = modes(yaw_rad=np.pi)
    assert found.ways == pytest.approx(1.0)
    assert found.yaw_spread_deg == pytest.approx(90, abs=10)
    assert found.joint_other_share[2] > 0.5


def test_few_episodes_give_no_result():
    assert modes(number=10) is None


def test_goals_that_coincide_are_neighbours_too():
    ends, poses, objects = demonstrations(number=40)
    same = np.zeros_like(objects)
    assert find_modes(JOINTS, ends, poses, same, plane, 8, 0.5).neighbour_distance_m == 0.0


def test_a_chain_of_near_ends_is_one_way():
    chain = np.arange(6.0)[None, :, None] * 0.4
    assert _local_ways(chain, 0.5).tolist() == [1]
    assert _local_ways(chain, 0.3).tolist() == [6]
    assert _local_ways(chain[:, [0, 5, 3, 1, 4, 2]], 0.5).tolist() == [1]


def test_a_twist_is_the_rotation_about_z():
    from scipy.spatial.transform import Rotation

    angle = np.linspace(-3, 3, 13)
    one = Rotation.random(13, rng=np.random.default_rng(0))
    two = one * Rotation.from_rotvec(np.stack([0 * angle, 0 * angle, angle], axis=1))
    np.testing.assert_allclose(_twist(one.as_quat(), two.as_quat()), angle, atol=1e-9)


def test_a_sample_of_many_episodes_gives_the_same_result(monkeypatch):
    ends, poses, objects = demonstrations(900, elbows=(1, -1))
    every = find_modes(JOINTS, ends, poses, objects, plane, 8, 0.5)
    monkeypatch.setattr("pipeline.validation.multimodality._MOST", 300)
    some = find_modes(JOINTS, ends, poses, objects, plane, 8, 0.5)
    assert some.episodes == every.episodes == 900
    assert some.other_way_share == pytest.approx(every.other_way_share, abs=0.05)
    assert some.ways == pytest.approx(every.ways, rel=0.05)
    assert some != every, "not all were compared"

"""Chains of frames give the object's pose as one rigid motion would."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import RigidTransform, Rotation

from pipeline.recordings.frames import FrameTree, resolve_frames, rotate
from pipeline.recordings.recording import JointSample, ObjectPose, Transform, Transforms

Z = np.array([0.0, 0.0, 1.0])


def transform(parent, child, rng):
    return Transform(parent, child, rng.normal(size=3), Rotation.random(rng=rng).as_quat())


def rigid(entry):
    return RigidTransform.from_components(entry.translation, Rotation.from_quat(entry.rotation))


@given(st.integers(0, 2**32 - 1))
def test_a_quaternion_turns_a_vector_as_the_library_does(seed):
    rng = np.random.default_rng(seed)
    rotation, vector = Rotation.random(rng=rng), rng.normal(size=3)
    np.testing.assert_allclose(
        rotate(rotation.as_quat(), vector), rotation.apply(vector), atol=1e-9
    )


@given(st.integers(0, 2**32 - 1))
def test_base_and_object_may_stand_in_different_branches(seed):
    rng = np.random.default_rng(seed)
    parts = [
        transform("world", "pedestal", rng), transform("pedestal", "base_link", rng),
        transform("world", "/camera", rng), transform("camera", "pen", rng),
    ]  # fmt: skip
    tree = FrameTree()
    tree.add(Transforms(5, True, tuple(parts[:2])))
    tree.add(Transforms(7, False, tuple(parts[2:])))
    position, axis, oldest = tree.locate("pen", "base_link", np.zeros(3), Z)
    pedestal, base, camera, pen = (rigid(part) for part in parts)
    chain = (pedestal * base).inv() * camera * pen
    np.testing.assert_allclose(position, chain.translation, atol=1e-9)
    np.testing.assert_allclose(axis, chain.rotation.apply(Z), atol=1e-9)
    assert oldest == 7


def test_frames_that_do_not_connect_or_run_in_circles_give_nothing():
    rng = np.random.default_rng(0)
    tree = FrameTree()
    tree.add(Transforms(0, True, (transform("a", "b", rng), transform("b", "a", rng))))
    assert tree.locate("a", "base_link", np.zeros(3), Z) is None
    assert tree.locate("nobody", "base_link", np.zeros(3), Z) is None


def run(events, frame=None):
    return list(resolve_frames(events, ("base_link",), frame))


def test_the_object_s_own_frame_becomes_its_pose_each_time_it_moves():
    rng = np.random.default_rng(0)
    fixed = Transforms(1, True, (transform("base_link", "camera", rng),))
    moving = [Transforms(time, False, (transform("camera", "pen", rng),)) for time in (2, 3)]
    sample = JointSample(4, ("a",), np.zeros(1), None)
    first, second, last = run([fixed, *moving, sample], "pen")
    assert (first.log_time_ns, second.log_time_ns, first.frame_id) == (2, 3, "base_link")
    assert not first.ageless
    assert last is sample
    assert np.abs(first.position - second.position).max() > 0.1


def test_a_static_frame_never_grows_old():
    rng = np.random.default_rng(0)
    (pose,) = run([Transforms(1, True, (transform("base_link", "pen", rng),))], "pen")
    assert pose.ageless


def test_a_pose_in_a_camera_s_frame_is_brought_to_the_base_where_the_tree_knows_it():
    rng = np.random.default_rng(0)
    camera = transform("base_link", "camera", rng)
    pose = ObjectPose(9, "/camera", np.ones(3), np.array([0.0, 0.0, 0.0, 1.0]))
    unknown, known = run([pose, Transforms(9, True, (camera,)), pose])
    assert unknown is pose
    np.testing.assert_allclose(known.position, rigid(camera).apply(np.ones(3)), atol=1e-9)
    np.testing.assert_allclose(
        known.orientation, Rotation.from_quat(camera.rotation).apply(Z), atol=1e-9
    )
    assert (known.frame_id, known.log_time_ns) == ("base_link", 9)


@pytest.mark.parametrize("scale", [0.5, np.nan])
def test_a_quaternion_that_is_none_shows_in_the_axis(scale):
    bad = Transform("base_link", "pen", np.zeros(3), np.array([0.0, 0.0, 0.0, scale]))
    (pose,) = run([Transforms(1, True, (bad,))], "pen")
    assert np.linalg.norm(pose.orientation) != pytest.approx(1)

"""Chains of frames give the same pose as one rigid motion."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import RigidTransform, Rotation, Slerp

from pipeline.recordings.frame_tree import FrameTree, interpolate_rotation
from pipeline.recordings.pose import rotate
from pipeline.recordings.recording import Transform, Transforms

Z = np.array([0.0, 0.0, 1.0])
UP = np.array([0.0, 0.0, 0.0, 1.0])
S = 10**9


def transform(parent, child, rng):
    return Transform(parent, child, rng.normal(size=3), Rotation.random(rng=rng).as_quat())


def rigid(entry):
    return RigidTransform.from_components(entry.translation, Rotation.from_quat(entry.rotation))


@given(st.integers(0, 2**32 - 1))
def test_a_quaternion_rotates_a_vector_as_in_scipy(seed):
    rng = np.random.default_rng(seed)
    rotation, vector = Rotation.random(rng=rng), rng.normal(size=3)
    np.testing.assert_allclose(
        rotate(rotation.as_quat(), vector), rotation.apply(vector), atol=1e-9
    )


@given(st.integers(0, 2**32 - 1))
def test_base_and_object_may_be_in_different_branches(seed):
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


def test_frames_that_do_not_connect_or_form_a_loop_give_none():
    rng = np.random.default_rng(0)
    tree = FrameTree()
    tree.add(Transforms(0, True, (transform("a", "b", rng), transform("b", "a", rng))))
    assert tree.locate("a", "base_link", np.zeros(3), Z) is None
    assert tree.locate("nobody", "base_link", np.zeros(3), Z) is None


def test_transforms_from_before_a_clock_s_reset_are_forgotten():
    tree = FrameTree()
    for stamp_ns, x in ((100 * S, 0.1), (101 * S, 0.2), (1 * S, 0.3)):
        entry = Transform("base_link", "camera", np.array([x, 0, 0]), UP, stamp_ns)
        tree.add(Transforms(stamp_ns, False, (entry,)))
    position, _, _ = tree.locate("camera", "base_link", np.zeros(3), Z)
    assert position[0] == 0.3


@given(st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_rotations_are_interpolated_as_in_scipy(seed, share):
    start, end = Rotation.random(2, rng=np.random.default_rng(seed))
    expected = Slerp([0, 1], Rotation.concatenate([start, end]))(share)
    found = Rotation.from_quat(interpolate_rotation(start.as_quat(), end.as_quat(), share))
    assert (expected.inv() * found).magnitude() < 1e-6


def test_where_transforms_share_no_time_the_newest_of_each_are_taken():
    """The camera's clock is three hours ahead of the arm's."""
    tree = FrameTree()
    for step in range(5):
        for child, parent, ahead_ns in (("wrist", "base_link", 0), ("pen", "wrist", 10800 * S)):
            entry = Transform(parent, child, np.array([step, 0, 0]), UP, step * S + ahead_ns)
            tree.add(Transforms((step + 20) * S, False, (entry,)))
    position, _, oldest_ns = tree.locate("pen", "base_link", np.zeros(3), Z)
    assert (position[0], oldest_ns) == (8, 24 * S)

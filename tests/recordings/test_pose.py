"""Poses are chained and inverted as SciPy does it."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import RigidTransform, Rotation

from pipeline.recordings.pose import IDENTITY, Pose, multiply, rotate


def draw(rng):
    return Pose(rng.normal(size=3), Rotation.random(rng=rng).as_quat())


def rigid(pose):
    return RigidTransform.from_components(pose.position, Rotation.from_quat(pose.orientation))


@given(seed=st.integers(0, 2**32 - 1))
def test_poses_are_chained_and_inverted_as_scipy_does_it(seed):
    rng = np.random.default_rng(seed)
    one, two = draw(rng), draw(rng)
    expected = rigid(one).inv() * rigid(two)
    found = rigid(one.inverse() @ two)
    np.testing.assert_allclose(found.as_matrix(), expected.as_matrix(), atol=1e-12)
    point = rng.normal(size=3)
    turned = Rotation.from_quat(one.orientation).apply(point)
    np.testing.assert_allclose(rotate(one.orientation, point), turned, atol=1e-12)


@given(seed=st.integers(0, 2**32 - 1))
def test_the_identity_changes_no_bit(seed):
    pose = draw(np.random.default_rng(seed))
    for same in (IDENTITY @ pose, pose @ IDENTITY):
        np.testing.assert_array_equal(same.position, pose.position)
        np.testing.assert_array_equal(same.orientation, pose.orientation)


def test_a_bad_norm_can_be_seen():
    half = np.array([0.0, 0.0, 0.0, 0.5])
    assert rotate(half, np.array([1.0, 0.0, 0.0]))[0] == 0.25
    assert multiply(half, half)[3] == 0.25

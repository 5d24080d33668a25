"""The object's poses are expressed in the base frame by the transforms of their time."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import RigidTransform, Rotation

from pipeline.recordings.frames import resolve_frames
from pipeline.recordings.recording import (
    JointSample,
    ObjectPose,
    Obstacles,
    Transform,
    Transforms,
)
from pipeline.recordings.scene_messages import parse_collision_object
from tests.fixtures.scenes import CUBE
from tests.fixtures.scenes import S as MESSAGES

Z = np.array([0.0, 0.0, 1.0])


def transform(parent, child, rng):
    return Transform(parent, child, rng.normal(size=3), Rotation.random(rng=rng).as_quat())


def rigid(entry):
    return RigidTransform.from_components(entry.translation, Rotation.from_quat(entry.rotation))


def run(messages, frame=None, static=()):
    return list(resolve_frames(messages, ("base_link",), frame, static))


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


def test_a_static_frame_holds_for_all_times():
    rng = np.random.default_rng(0)
    (pose,) = run([Transforms(1, True, (transform("base_link", "pen", rng),))], "pen")
    assert pose.ageless


def test_a_pose_in_a_camera_s_frame_is_transformed_if_the_tree_connects_it():
    rng = np.random.default_rng(0)
    camera = transform("base_link", "camera", rng)
    pose = ObjectPose(9, "/camera", np.ones(3), np.array([0.0, 0.0, 0.0, 1.0]))
    (unknown,) = run([pose])
    assert unknown is pose
    before, known = run([pose, Transforms(9, True, (camera,)), pose])
    assert before.frame_id == "base_link"
    np.testing.assert_allclose(known.position, rigid(camera).apply(np.ones(3)), atol=1e-9)
    np.testing.assert_allclose(
        known.orientation, Rotation.from_quat(camera.rotation).apply(Z), atol=1e-9
    )
    assert (known.frame_id, known.log_time_ns) == ("base_link", 9)


@pytest.mark.parametrize("scale", [0.5, np.nan])
def test_a_quaternion_without_unit_norm_gives_an_axis_without_unit_norm(scale):
    bad = Transform("base_link", "pen", np.zeros(3), np.array([0.0, 0.0, 0.0, scale]))
    (pose,) = run([Transforms(1, True, (bad,))], "pen")
    assert np.linalg.norm(pose.orientation) != pytest.approx(1)


S = 10**9
UP = np.array([0.0, 0.0, 0.0, 1.0])


def test_a_pose_published_once_before_the_static_transforms_is_resolved():
    """Even where the plan comes before them too."""
    rng = np.random.default_rng(0)
    camera = transform("base_link", "camera", rng)
    pose = ObjectPose(1 * S, "camera", np.ones(3), UP)
    sample = JointSample(20 * S, ("a",), np.zeros(1), None)
    late = Transforms(30 * S, True, (camera,))
    found, last = run([pose, sample, late], static=[late])
    np.testing.assert_allclose(found.position, rigid(camera).apply(np.ones(3)), atol=1e-9)
    assert last is sample


def test_a_static_transform_that_changes_holds_from_its_change_on():
    first, second = (Transform("base_link", "camera", np.full(3, x), UP) for x in (0.1, 0.2))
    messages = [
        ObjectPose(1 * S, "camera", np.zeros(3), UP),
        Transforms(2 * S, True, (first,)),
        ObjectPose(3 * S, "camera", np.zeros(3), UP),
        Transforms(4 * S, True, (second,)),
        ObjectPose(5 * S, "camera", np.zeros(3), UP),
    ]
    static = [each for each in messages if isinstance(each, Transforms)]
    assert [pose.position[0] for pose in run(messages, static=static)] == [0.1, 0.1, 0.2]


def camera_drive(pose_delay_ns, offset_ns=0, log_delay_ns=0, stamped=True):
    """A camera at 0.5 m/s that sees an object at rest; /tf at 50 Hz, poses at 10 Hz, in order.

    Args:
        pose_delay_ns: from the picture to the pose in the log.
        offset_ns: clock of the stamps against that of the log.
        log_delay_ns: from a transform to its place in the log.
        stamped: whether messages carry stamps.
    """
    messages = []
    for step in range(100):
        time_ns, x = 5 * S + step * S // 50, 0.5 * step / 50
        stamp_ns = time_ns + offset_ns if stamped else 0
        entry = Transform("base_link", "camera", np.array([x, 0, 0]), UP, stamp_ns)
        messages.append(Transforms(time_ns + log_delay_ns, False, (entry,)))
        if step % 5 == 2:
            seen_ns, seen_x = time_ns + S // 100, x + 0.005  # between two transforms
            stamp_ns = seen_ns + offset_ns if stamped else 0
            pose = ObjectPose(seen_ns + pose_delay_ns, "camera", np.array([0.6 - seen_x, 0, 0.3]),
                              UP, stamp_ns=stamp_ns)  # fmt: skip
            messages.append(pose)
    return sorted(messages, key=lambda message: message.log_time_ns)


@pytest.mark.parametrize("offset_ns", [0, -4 * S, 10**18])
@pytest.mark.parametrize("pose_delay_ns", [0, S // 10, S // 2])
def test_a_pose_of_a_moving_camera_is_resolved_by_the_transforms_at_its_stamp(
    pose_delay_ns, offset_ns
):
    poses = run(camera_drive(pose_delay_ns, offset_ns))
    assert len(poses) == 20
    np.testing.assert_allclose([pose.position for pose in poses], [[0.6, 0, 0.3]] * 20, atol=1e-9)


def test_a_pose_waits_for_transforms_that_come_late():
    poses = run(camera_drive(0, log_delay_ns=S // 20))
    np.testing.assert_allclose([pose.position[0] for pose in poses], 0.6, atol=1e-9)


def test_without_stamps_the_times_of_the_log_choose_the_transforms():
    poses = run(camera_drive(0, stamped=False))
    np.testing.assert_allclose([pose.position[0] for pose in poses], 0.6, atol=1e-9)


def test_stamps_of_different_clocks_are_not_compared():
    """The camera's clock is three hours ahead: the log says which transforms belong to a pose."""
    messages = [
        replace(each, stamp_ns=each.stamp_ns + 3 * 3600 * S) if isinstance(each, ObjectPose)
        else each for each in camera_drive(0)
    ]  # fmt: skip
    np.testing.assert_allclose([pose.position[0] for pose in run(messages)], 0.6, atol=1e-9)


def test_messages_keep_their_order_while_a_pose_waits():
    messages = [
        message for drive in camera_drive(0, log_delay_ns=S // 20)
        for message in (drive, JointSample(drive.log_time_ns, ("a",), np.zeros(1), None))
    ]  # fmt: skip
    kinds = [type(message) for message in messages if not isinstance(message, Transforms)]
    assert [type(message) for message in run(messages)] == kinds


def test_the_object_s_frame_is_read_at_the_latest_time_that_all_transforms_know():
    """The object is seen 100 ms late from a camera at 0.5 m/s."""
    messages = []
    for message in camera_drive(S // 10):
        if isinstance(message, Transforms):
            messages.append(message)
            continue
        entry = Transform("camera", "pen", message.position, UP, message.stamp_ns)
        messages.append(Transforms(message.log_time_ns, False, (entry,)))
    poses = [pose for pose in run(messages, "pen") if pose.log_time_ns > 5.2 * S]
    assert len(poses) > 50
    np.testing.assert_allclose([pose.position[0] for pose in poses], 0.6, atol=1e-9)


@pytest.mark.parametrize(("wait_s", "resolved"), [(0.5, True), (1.5, False)])
def test_a_change_of_the_scene_waits_up_to_a_second_for_its_frame(wait_s, resolved):
    item = MESSAGES.item("a", CUBE, frame="camera")
    change = parse_collision_object("/collision_object", 0, 1 * S, item)
    samples = [JointSample(round(time * S), ("a",), np.zeros(1), None) for time in (1, 2.2, 9)]
    camera = transform("base_link", "camera", np.random.default_rng(0))
    late = Transforms(round((1 + wait_s) * S), False, (camera,))
    found, *rest = run(sorted([change, late, *samples], key=lambda each: each.log_time_ns))
    assert isinstance(found, Obstacles)
    assert rest == samples
    assert found.unresolved == (() if resolved else ("'a' in frame 'camera'",))
    if resolved:
        np.testing.assert_allclose(found.rows[0, :3], camera.translation, atol=1e-12)

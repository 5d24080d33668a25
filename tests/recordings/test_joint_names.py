"""The arm's joints are found in any order, among others and with a prefix."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.recordings.joint_names import find_joints

JOINTS = ("joint_1", "joint_2", "joint_3")


@given(
    prefix=st.sampled_from(["", "left_", "arm/", "doosan::"]),
    others=st.lists(st.sampled_from(["finger", "rail", "wheel_1"]), unique=True),
    data=st.data(),
)
def test_any_order_any_prefix_and_extra_joints(prefix, others, data):
    names = data.draw(st.permutations([*(prefix + joint for joint in JOINTS), *others]))
    places, why = find_joints(names, JOINTS)
    assert [names[place] for place in places] == [prefix + joint for joint in JOINTS]
    assert why == ""


def test_of_two_arms_only_a_prefix_chooses_one():
    names = [side + joint for side in ("left_", "right_") for joint in JOINTS]
    places, why = find_joints(names, JOINTS)
    assert places is None
    assert why == "left_joint_1 and right_joint_1 both fit: name one in ingest.joint_prefix"
    assert find_joints(names, JOINTS, "right_")[0] == [3, 4, 5]


def test_names_without_a_prefix_are_preferred():
    names = ["left_" + joint for joint in JOINTS] + list(JOINTS)
    assert find_joints(names, JOINTS)[0] == [3, 4, 5]


@pytest.mark.parametrize(
    ("names", "prefix", "why"),
    [
        (["joint_1", "joint_3"], None, "without joint_2"),
        ([], None, "without joint_1, joint_2, joint_3"),
        (["a_joint_1", "b_joint_2", "a_joint_3"], None, "without joint_1, joint_2, joint_3"),
        (list(JOINTS), "left_", "without left_joint_1, left_joint_2, left_joint_3"),
    ],
)
def test_what_is_missing_is_named(names, prefix, why):
    assert find_joints(names, JOINTS, prefix) == (None, why)

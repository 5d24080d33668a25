"""The variables that say where ROS 2 nodes meet."""

from __future__ import annotations

import pytest

from pipeline.ros2.network import DdsError, Network, Reach


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, Network(0, False)),
        ({"ROS_DOMAIN_ID": ""}, Network(0, False)),
        ({"ROS_DOMAIN_ID": "232", "ROS_LOCALHOST_ONLY": "0"}, Network(232, False)),
        ({"ROS_LOCALHOST_ONLY": "1"}, Network(0, True)),
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}, Network(0, True)),
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET"}, Network(0, False)),
    ],
)
def test_the_variables_of_ros_are_read(environment: dict[str, str], expected: Network) -> None:
    assert Network.from_environment(environment) == expected


@pytest.mark.parametrize("value", ["233", "-1", "one", "1.5"])
def test_a_domain_that_does_not_exist_is_refused(value: str) -> None:
    with pytest.raises(DdsError, match=f"ROS_DOMAIN_ID is '{value}'"):
        Network.from_environment({"ROS_DOMAIN_ID": value})


def test_the_weaker_reach_is_what_both_offer() -> None:
    latched, plain = Reach(True, True), Reach(True, False)
    assert latched.with_weaker(plain) == plain.with_weaker(latched) == plain
    assert latched.with_weaker(Reach(False, True)) == Reach(False, True)

"""A domain of DDS for each test."""

from tests.fixtures.ros2 import *

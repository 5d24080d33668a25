"""Where ROS 2 nodes meet, and how messages get from one to the other. Imports no DDS."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.errors import PipelineError

MAX_DOMAIN_ID = 232
"""The ports of higher domains do not exist."""


class DdsError(PipelineError):
    """DDS cannot do what is asked."""


@dataclass(frozen=True)
class Network:
    """Where ROS 2 nodes find each other."""

    domain_id: int
    localhost_only: bool
    """Whether nodes of other machines stay out of sight."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Network:
        """Read the variables of ROS 2.

        Args:
            environment: ROS_DOMAIN_ID, ROS_LOCALHOST_ONLY, ROS_AUTOMATIC_DISCOVERY_RANGE.

        Raises:
            DdsError: a value cannot be used.
        """
        text = environment.get("ROS_DOMAIN_ID", "") or "0"
        if not text.isdecimal() or int(text) > MAX_DOMAIN_ID:
            raise DdsError(f"ROS_DOMAIN_ID is {text!r}, expected a number from 0 to 232")
        local = environment.get("ROS_LOCALHOST_ONLY") == "1"
        reach = environment.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "").upper()
        return cls(int(text), local or reach == "LOCALHOST")


@dataclass(frozen=True)
class Reach:
    """How the messages of a topic get to its readers."""

    reliable: bool
    transient_local: bool
    """Whether late readers get the last messages too."""

    def with_weaker(self, other: Reach) -> Reach:
        """What both offer.

        Args:
            other: of another publisher.
        """
        return Reach(
            self.reliable and other.reliable, self.transient_local and other.transient_local
        )


SENSOR_DATA = Reach(reliable=False, transient_local=False)
"""As in rclpy: every publisher matches."""


@dataclass(frozen=True)
class Publication:
    """A publisher of another participant."""

    topic: str
    msgtype: str
    reach: Reach
    deadline_ns: int
    lifespan_ns: int
    type_hash: str
    """RIHS01 of the definition, which publishers name since Iron; empty if unknown."""


@dataclass(frozen=True)
class Sample:
    """A message as it came."""

    data: bytes
    """CDR with its header; a publisher may have filled it up to a multiple of four bytes."""
    source_time_ns: int
    """When it was published, on the publisher's clock."""

"""What the guard reads of params.yaml, section `execution`, wherever the numbers come from."""

from __future__ import annotations

from typing import Literal, Protocol


class GuardSettings(Protocol):
    """What of params.yaml, section `execution`, is used here."""

    @property
    def guard(self) -> Literal["off", "check", "repair"]:
        """What is done about a chunk that comes too near."""

    @property
    def guard_margin_m(self) -> float:
        """Clearance that a chunk must keep, or it is repaired."""

    @property
    def guard_least_m(self) -> float:
        """Clearance that what is sent keeps."""

    @property
    def guard_turns(self) -> int:
        """Most corrections of one chunk."""

    @property
    def guard_turn_rad(self) -> float:
        """Most that one correction moves a joint."""

    @property
    def guard_smooth_s(self) -> float:
        """Standard deviation over which corrections are spread along the chunk."""

    @property
    def guard_samples(self) -> int:
        """Other chunks that are looked at."""

    @property
    def guard_noise_scale(self) -> float:
        """Scale of the noise that they start from."""

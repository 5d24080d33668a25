"""Expert arm trajectories in, a diffusion policy that works in closed loop out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.runtime.load import load_policy

__all__ = ["load_policy"]


def __getattr__(name: str) -> Any:
    """Import `load_policy` on its first use: stages need none of it."""
    if name != "load_policy":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pipeline.runtime.load import load_policy

    return load_policy

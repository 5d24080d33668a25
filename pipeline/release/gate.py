"""Whether a policy has shown enough to get a version.

Knows the numbers of evaluation and nothing of git, DVC or files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pipeline.errors import PipelineError
from pipeline.params import ReleaseParams

VERSION = re.compile(
    r"v(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(-(0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*)(\.(0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*))*)?"
)
"""Semantic Versioning 2.0.0 (semver.org) with the v that gto wants; no build metadata."""


class GateError(PipelineError):
    """A policy must not get this version."""


def require_version(version: str) -> None:
    """Refuse what is no semantic version.

    Args:
        version: for instance v1.0.0 or v1.1.0-rc.1.

    Raises:
        GateError: it is none.
    """
    if not VERSION.fullmatch(version):
        hint = f"v{version}" if VERSION.fullmatch(f"v{version}") else "v1.0.0 or v1.1.0-rc.1"
        raise GateError(f"version {version!r}: no semantic version; expected one such as {hint}")


def require_success(metrics: Mapping[str, Any], params: ReleaseParams, source: str) -> None:
    """Refuse a policy whose closed loop shows too little, or touches too much on its way.

    The lower ends of the intervals count: each depends on success and on the number of pens.

    Args:
        metrics: content of evaluation's metrics.json.
        params: section release.
        source: where the metrics stand, for the message.

    Raises:
        GateError: too few pens, too little success, or no such numbers.
    """
    try:
        found = metrics["closed_loop"]
        pens = found["n"]
        bars = (
            ("strict success", found["success_strict"], found["ci95_strict"][0],
             "min_success", params.min_success),
            ("strict success free of contact", found["success_collision_free"],
             found["ci95_collision_free"][0], "min_collision_free", params.min_collision_free),
        )  # fmt: skip
    except (KeyError, TypeError, IndexError) as error:
        raise GateError(
            f"{source}: no closed loop with {error} in it; run `make evaluate`"
        ) from error
    if pens < params.min_pens:
        raise GateError(
            f"{source}: {pens} pens, release.min_pens asks for {params.min_pens}; "
            f'make evaluate ARGS="-S evaluate.pens={params.min_pens}", then commit dvc.lock'
        )
    for what, success, lower, name, wanted in bars:
        if lower < wanted:
            raise GateError(
                f"{source}: {what} {success:.1%} of {pens} pens, at least {lower:.1%} with 95 % "
                f"confidence; release.{name} asks for {wanted:.1%}. "
                "artifacts/evaluate/report.html shows what fails"
            )

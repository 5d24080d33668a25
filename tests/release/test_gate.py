"""What gets a version and what does not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.params import ReleaseParams
from pipeline.release.gate import GateError, require_success, require_version

from .results import results

PARAMS = ReleaseParams(min_success=0.95, min_collision_free=0.9, min_pens=200)


@given(st.tuples(*[st.integers(0, 10**6)] * 3))
def test_every_semantic_version_passes_and_only_with_its_v(numbers: tuple[int, int, int]) -> None:
    version = ".".join(map(str, numbers))
    require_version(f"v{version}")
    require_version(f"v{version}-rc.1")
    with pytest.raises(GateError, match=rf"expected one such as v{version}"):
        require_version(version)


@pytest.mark.parametrize("version", ["", "v1", "v1.0", "v01.0.0", "v1.0.0-", "v1.0.0 ", "latest"])
def test_what_is_no_version_is_refused(version: str) -> None:
    with pytest.raises(GateError, match=r"no semantic version; expected one such as v1\.0\.0 or"):
        require_version(version)


def test_the_lower_end_of_the_interval_decides_not_the_share() -> None:
    require_success(results(200, 0.95)["metrics"], PARAMS, "metrics.json")  # asks for as much
    refused = (
        r"^metrics\.json: strict success 100\.0% of 200 pens, at least 94\.9% .*"
        r"; release\.min_success asks for 95\.0%\. artifacts/evaluate/report\.html shows"
    )
    with pytest.raises(GateError, match=refused):
        require_success(results(200, 0.949)["metrics"], PARAMS, "metrics.json")


def test_a_policy_that_touches_things_gets_no_version() -> None:
    require_success(results(free=0.901)["metrics"], PARAMS, "metrics.json")
    with pytest.raises(GateError, match=r"free of contact .* 89.9% .*min_collision_free .* 90.0%"):
        require_success(results(free=0.899)["metrics"], PARAMS, "metrics.json")
    old = results()["metrics"]
    del old["closed_loop"]["ci95_collision_free"]
    with pytest.raises(GateError, match="no closed loop with 'ci95_collision_free' in it"):
        require_success(old, PARAMS, "metrics.json")


def test_too_few_pens_and_no_closed_loop_are_refused() -> None:
    with pytest.raises(GateError, match=r"199 pens, release.min_pens asks for 200; make evaluate"):
        require_success(results(199)["metrics"], PARAMS, "metrics.json")
    with pytest.raises(GateError, match=r"metrics.json: no closed loop .*'closed_loop'"):
        require_success({}, PARAMS, "metrics.json")

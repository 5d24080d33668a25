"""A small project that ran, once for all tests of this folder."""

from __future__ import annotations

import pytest

from tests.remotes.project import Project, isolated, two_stages


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Two stages that ran; no remote yet."""
    folder = tmp_path_factory.mktemp("remotes")
    return two_stages(folder / "project", isolated(folder / "home"))

"""A small project whose stages have run, for all tests of a module."""

from __future__ import annotations

import pytest

from tests.remotes.project import Project, isolated, two_stages


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with two stages that have run, without a remote."""
    folder = tmp_path_factory.mktemp("remotes")
    return two_stages(folder / "project", isolated(folder / "home"))

"""Fixtures of a repository with a remote, shared with the tests of releases."""

from tests.release.conftest import project, released

__all__ = ["project", "released"]

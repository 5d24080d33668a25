"""A repository with a remote, as tests of releases have it."""

from tests.release.conftest import project, released

__all__ = ["project", "released"]

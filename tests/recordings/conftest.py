"""Shared fixtures of the tests of recordings."""

from tests.fixtures.recordings import *

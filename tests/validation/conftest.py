"""Fixtures: a plan with its context, which each test changes."""

from tests.fixtures.recordings import *

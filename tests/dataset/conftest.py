"""A plan with its context, to be bent by each test."""

from tests.fixtures.recordings import *

"""Small parameters, a small data set and a policy fitted to it."""

from tests.fixtures.policy import *

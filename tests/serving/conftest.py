"""Small parameters, a policy fitted to a small data set, and a certificate."""

from tests.fixtures.policy import *
from tests.fixtures.serving import *

"""Small parameters, a policy fitted to a small data set, and a GPU in this process's memory."""

from tests.fixtures.fake_gpu import *
from tests.fixtures.policy import *

"""The split of an episode depends on its content alone."""

import hashlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.dataset.split import TEST, TRAIN, VAL, split_episodes, split_of

hashes = st.lists(st.binary(max_size=8).map(lambda b: hashlib.sha256(b).hexdigest()), max_size=20)
fractions = st.floats(0, 0.49)


@given(hashes, hashes, fractions, fractions)
def test_adding_data_never_moves_an_episode(present, added, val, test):
    before = split_episodes(present, val, test)
    after = split_episodes(present + added, val, test)
    np.testing.assert_array_equal(after[: len(before)], before)


@given(hashes, fractions, fractions, fractions)
def test_the_test_split_does_not_depend_on_the_validation_share(present, val, other, test):
    one, two = split_episodes(present, val, test), split_episodes(present, other, test)
    np.testing.assert_array_equal(one == TEST, two == TEST)


def test_shares_are_met():
    many = [hashlib.sha256(str(index).encode()).hexdigest() for index in range(20_000)]
    split = split_episodes(many, 0.1, 0.2)
    assert split.dtype == split_episodes([], 0.1, 0.2).dtype == np.int8
    shares = np.bincount(split, minlength=3) / len(many)
    np.testing.assert_allclose(shares[[TRAIN, VAL, TEST]], [0.7, 0.1, 0.2], atol=0.01)


def test_no_share_means_no_episode():
    assert split_of("0" * 64, 0.0, 0.0) == TRAIN
    assert split_of("f" * 64, 0.0, 0.0) == TRAIN

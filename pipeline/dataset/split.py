"""Splits episodes into training, validation and test by their content. Pure.

The split of an episode depends on its own content alone, so adding data never moves an episode, and
duplicates always fall into the same split.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

TRAIN, VAL, TEST = 0, 1, 2
SPLIT_NAMES = ("train", "val", "test")

_DIGITS = 13  # 52 bits, exact in a float


def split_of(content_hash: str, val_fraction: float, test_fraction: float) -> int:
    """The split of one episode.

    Args:
        content_hash: hexadecimal hash of the episode's content.
        val_fraction: share of episodes for validation, in [0, 1).
        test_fraction: share of episodes for the test, in [0, 1).

    Returns:
        TRAIN, VAL or TEST.
    """
    draw = int(content_hash[:_DIGITS], 16) / 16**_DIGITS
    if draw < test_fraction:
        return TEST
    # From the other end, so that a change of one share does not affect the other split.
    return VAL if draw >= 1 - val_fraction else TRAIN


def split_episodes(
    hashes: Iterable[str], val_fraction: float, test_fraction: float
) -> NDArray[np.int8]:
    """The split of each episode.

    Args:
        hashes: content hashes of E episodes.
        val_fraction: share of episodes for validation, in [0, 1).
        test_fraction: share of episodes for the test, in [0, 1).

    Returns:
        TRAIN, VAL or TEST by episode, shape (E,).
    """
    return np.array(
        [split_of(content_hash, val_fraction, test_fraction) for content_hash in hashes], np.int8
    )

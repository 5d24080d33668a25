"""The command refuses what does not fit before anything runs."""

from __future__ import annotations

import pytest

from tests.command import refusal


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "nothing to search"),
        (("-S", "train.lr=loguniform(0,1)"), "expected 0 < low < high"),
        (("-S", "train.lrr=uniform(0,1)"), "did you mean train.lr"),
    ],
)
def test_mistakes_are_one_line(arguments: tuple[str, ...], words: str) -> None:
    assert words in refusal("search", *arguments)

"""A section takes what its types say, and cannot be changed."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from pipeline.params.section import Count, Section, Share


class Example(Section):
    episodes: Count
    share: Share
    salvage: bool


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("episodes", True),
        ("episodes", "7"),
        ("episodes", 7.0),
        ("episodes", -1),
        ("share", 1.1),
        ("share", float("nan")),
        ("salvage", "yes"),
        ("salvage", 1),
    ],
)
def test_another_type_or_range_is_refused(key: str, value: object) -> None:
    with pytest.raises(ValidationError, match=key):
        Example.model_validate({"episodes": 7, "share": 0.5, "salvage": False, key: value})


def test_a_whole_number_is_a_number() -> None:
    assert Example(episodes=7, share=1, salvage=True).share == 1.0


def test_values_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Example(episodes=7, share=1.0, salvage=True).episodes = 8  # type: ignore[misc]


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(ValidationError, match="extra"):
        Example.model_validate({"episodes": 7, "share": 0.5, "salvage": False, "seed": 0})


def test_data_of_a_file_may_have_lists_for_tuples_and_text_for_paths() -> None:
    class Paths(Section):
        sizes: tuple[int, ...]
        folder: Path

    assert Paths.parse({"sizes": [1, 2], "folder": "a/b"}) == Paths(
        sizes=(1, 2), folder=Path("a/b")
    )
    with pytest.raises(ValidationError, match="sizes"):
        Paths.parse({"sizes": ["1"], "folder": "a"})

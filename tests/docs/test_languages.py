"""The Korean guides have the English ones' commands, code and headings' numbers, in their order."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from .blocks import REPOSITORY, blocks, commands

ENGLISH = sorted((REPOSITORY / "docs/en").glob("*.md"))


def _content(file: Path) -> list[object]:
    """Commands without comments, and Python as it parses, without comments either."""
    found: list[object] = []
    for block in blocks(file):
        found += [command.words for command in commands(block)]
        if block.language == "python":
            found.append(ast.dump(ast.parse(block.text)))
    return found


def _outline(file: Path) -> list[str]:
    """Level and number of each heading outside blocks, and the rows of each table."""
    text = re.sub(r"```.*?```", "", file.read_text(), flags=re.S)
    return re.findall(r"^(#+ [\d.]*|\|-|\| )", text, re.M)


def test_both_languages_have_the_same_files() -> None:
    korean = {file.name for file in (REPOSITORY / "docs/ko").glob("*.md")}
    assert korean == {file.name for file in ENGLISH} and korean


@pytest.mark.parametrize("file", ENGLISH, ids=lambda file: file.name)
def test_commands_code_headings_and_tables_agree(file: Path) -> None:
    other = REPOSITORY / "docs/ko" / file.name
    assert _content(file) == _content(other)
    assert _outline(file) == _outline(other)


def _figures(file: Path) -> list[str]:
    """Numbers of two digits or more; smaller ones may be words in either language."""
    text = re.sub(r"```.*?```", "", file.read_text(), flags=re.S)
    return sorted(re.findall(r"\d[\d,.]*\d", text))


@pytest.mark.parametrize("file", ENGLISH, ids=lambda file: file.name)
def test_figures_agree(file: Path) -> None:
    assert _figures(file) == _figures(REPOSITORY / "docs/ko" / file.name)

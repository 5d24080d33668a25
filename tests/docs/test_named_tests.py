"""The tests that docs/ingest.md names for its rows exist."""

from __future__ import annotations

import re

from .blocks import REPOSITORY

TESTS = [(file.stem, file.read_text()) for file in (REPOSITORY / "tests").rglob("test_*.py")]
CELL = re.compile(r"^\|.*\| ([^|]+) \|$", re.M)
NAME = re.compile(r"`(?:(?:\w+/)*(test_\w+)(?:\.py)?)?(?:: )?(\w+)?`")


def test_every_named_test_exists() -> None:
    missing, found = [], 0
    for cell in CELL.findall((REPOSITORY / "docs/ingest.md").read_text()):
        file = ""
        for name, function in NAME.findall(cell):
            file = name or file
            found += 1
            pattern = rf"def test_\w*{function}"
            if not any(stem == file and re.search(pattern, text) for stem, text in TESTS):
                missing.append(f"{file}: {function}")
    assert found > 60 and not missing

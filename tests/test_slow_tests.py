"""The table of slow tests keeps the figures of earlier runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
TESTS = """
import pytest

@pytest.mark.slow
@pytest.mark.parametrize("number", [1, 2])
def test_long(number):
    assert number == 1

def test_short():
    pass
"""
SETTINGS = "[pytest]\nmarkers = slow\ntestpaths = tests\naddopts = -m 'not slow'\n"


def _run(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "pytest", "-q", "-m", "slow", "-p", "tools.slow_tests"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "COLUMNS": "60"}
    done = subprocess.run(
        [*command, *arguments], cwd=folder, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    return done.stdout


def test_a_run_of_a_few_tests_leaves_the_figures_of_the_others(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_a.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text(SETTINGS)
    kept = tmp_path / ".state/slow.json"
    said = _run(tmp_path, "-k", "1")
    one, two = (f"tests/test_a.py::test_long[{number}]" for number in (1, 2))
    first = json.loads(kept.read_text())
    assert set(first) == {one, two} and first[two] == {}
    assert f"{one}" in said and "passed" in said and "never ran" in said
    _run(tmp_path, "-k", "2", "tests/test_a.py")
    second = json.loads(kept.read_text())
    assert second[one] == first[one]
    assert second[two]["result"] == "failed"
    (tmp_path / "tests/test_a.py").write_text(TESTS.replace("[1, 2]", "[1]"))
    _run(tmp_path)
    assert set(json.loads(kept.read_text())) == {one}, "a test that is gone is forgotten"

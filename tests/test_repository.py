"""Commands run in a repository, and say in a line what they failed of."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.repository import Checkout, RepositoryError, last_lines


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    return Checkout(tmp_path)


def test_output_is_as_it_is_and_a_failure_an_error(checkout: Checkout) -> None:
    (checkout.root / "a").write_text("b \n")
    assert checkout.output("cat", "a") == "b \n"
    with pytest.raises(RepositoryError, match=f"{checkout.root}: git show absent: fatal"):
        checkout.output("git", "show", "absent")
    with pytest.raises(RepositoryError, match="git rev-parse HEAD: fatal"):
        checkout.head()
    assert checkout.ask("git", "show", "absent").returncode != 0


def test_dvc_and_python_are_those_of_this_environment(checkout: Checkout) -> None:
    assert checkout.environment["PATH"].split(":")[0] == str(Path(sys.executable).parent)
    assert checkout.output("dvc", "--version")[0].isdigit()


def test_the_last_lines_say_what_was_wrong() -> None:
    assert last_lines("a\n\n b \nc\n", 2) == "b / c"
    assert last_lines("ERROR: no\n\nSee https://dvc.org/support\n", 2) == "ERROR: no"
    assert last_lines(" \n", 3) == ""

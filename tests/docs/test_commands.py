"""Every command in the docs is run here, shown by another test, or known not to run here."""

from __future__ import annotations

import ast
import gc
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from . import syntax
from .blocks import REPOSITORY, Block, Command, blocks, commands, documents, shell_text
from .conftest import run_pipeline
from .tables import NOT_HERE, RUN, SHOWN, SUBSTITUTIONS

# Commands run in this process, and DVC leaves the databases of its index open, of which Python 3.13
# warns wherever they are collected.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")


@pytest.fixture(autouse=True)
def _collected_here() -> Iterator[None]:
    """Collect what a test left open while its warnings are still filtered."""
    yield
    gc.collect()


ALL = [block for file in documents() for block in blocks(file)]
TYPED = [command for block in ALL for command in commands(block)]
# What stands between backquotes in running text; an ellipsis means that something is left out.
INLINE = re.compile(r"`((?:python -m pipeline|make|docker compose) [^`…]+)`")


def _matches(pattern: str, command: Command) -> bool:
    return re.fullmatch(pattern, command.text) is not None


def _runs(command: Command) -> bool:
    return any(_matches(pattern, command) for pattern in RUN)


def test_there_are_commands_in_every_guide() -> None:
    with_commands = {command.where.partition(":")[0] for command in TYPED}
    files = {str(file.relative_to(REPOSITORY)) for file in documents()}
    assert len(TYPED) > 100 and with_commands == files


def test_every_command_is_run_or_shown_or_known_not_to_run() -> None:
    patterns = [*RUN, *(shown.pattern for shown in SHOWN), *(pattern for pattern, _ in NOT_HERE)]
    unknown = [
        f"{command.where}: {command.text}"
        for command in TYPED
        if not any(_matches(pattern, command) for pattern in patterns)
    ]
    assert not unknown, "no test knows:\n" + "\n".join(unknown)


def test_no_line_of_the_tables_is_left_over() -> None:
    patterns = [*RUN, *(shown.pattern for shown in SHOWN), *(pattern for pattern, _ in NOT_HERE)]
    unused = [p for p in patterns if not any(_matches(p, command) for command in TYPED)]
    assert not unused, unused
    text = "\n".join(shell_text(block) for block in ALL)
    assert not [p for p, _ in SUBSTITUTIONS if not re.search(p, text)]


@pytest.mark.parametrize("shown", SHOWN, ids=lambda shown: shown.pattern)
def test_what_is_shown_elsewhere_is_shown_there(shown) -> None:
    name, _, function = shown.test.partition("::")
    file = REPOSITORY / "tests" / name
    names = {node.name for node in ast.walk(ast.parse(file.read_text()))
             if isinstance(node, ast.FunctionDef)}  # fmt: skip
    assert function in names, f"{shown.pattern}: {shown.test} is gone"
    beside = [file, *(path for path in file.parent.glob("*.py") if file.parent.name != "tests")]
    assert any(shown.mention in path.read_text() for path in beside if path.name != "tables.py")


def test_blocks_are_shell_and_commands_have_known_words() -> None:
    found = [(block.where, syntax.shell_complaint(shell_text(block))) for block in ALL]
    found += [(command.where, syntax.complaint(command.words)) for command in TYPED]
    assert not (wrong := [f"{where}: {said}" for where, said in found if said]), "\n".join(wrong)


def test_commands_in_running_text_have_known_words() -> None:
    wrong = []
    for file in documents():
        outside = _without_blocks(file)
        for number, line in enumerate(outside, start=1):
            for text in INLINE.findall(line):
                said = syntax.complaint(tuple(shlex.split(text)))
                if said:
                    wrong.append(f"{file.relative_to(REPOSITORY)}:{number}: {said}")
    assert not wrong, "\n".join(wrong)


def _without_blocks(file: Path) -> list[str]:
    lines = file.read_text().splitlines()
    for block in blocks(file):
        size = block.text.count("\n")
        lines[block.line - 2 : block.line + size] = [""] * (size + 2)
    return lines


@cache
def _substitutions() -> tuple[tuple[re.Pattern[str], str], ...]:
    return tuple((re.compile(pattern), new) for pattern, new in SUBSTITUTIONS)


def _substituted(text: str, place: Path) -> str:
    for pattern, new in _substitutions():
        text = pattern.sub(new.format(place=place), text)
    return text


def _enter(command: Command, place: Path, here: Path) -> Path:
    """Follow `cd`, a shell in a container and its end; refuse what starts in the wrong folder."""
    match command.words:
        case ("cd", to):
            if to == "REPOSITORY":
                return place
            folder = here / _substituted(to, place)
            assert folder.is_dir(), f"{command.where}: there is no {to} to go to"
            return folder
        case ("docker", "compose", "exec", *_):
            return place
        case ("exit",):
            return place / "docker"
        case ("docker", "compose", "version", *_):
            return here
        case ("docker", "compose", *_):
            assert (here / "compose.yaml").is_file(), f"{command.where}: docker/ is not entered"
    return here


@pytest.mark.parametrize(
    "file", [file for file in documents() if file.parent.name != "ko"], ids=lambda file: file.name
)
def test_the_commands_run_one_after_the_other(file: Path, make_place: Callable[[], Path]) -> None:
    """Korean guides have the English ones' commands: tests/docs/test_languages.py."""
    place = here = make_place()
    section = ""
    for block in blocks(file):
        if block.section != section:
            here, section = place, block.section
        for command in commands(block):
            here = _enter(command, place, here)
            if not _runs(command):
                continue
            try:
                _run(block, command, place)
            except (Exception, SystemExit) as error:
                raise AssertionError(f"{command.where}: {command.text}: {error}") from error


def _run(block: Block, command: Command, place: Path) -> None:
    typed = _substituted(command.text, place)
    if command.words[:3] == ("python", "-m", "pipeline"):
        run_pipeline(typed.split()[3:])
        return
    # A shell takes the words as the block has them, quotes included.
    lines = [line for line in shell_text(block).splitlines() if command.words[0] in line]
    whole = next(line for line in lines if all(word in line for word in command.words))
    simple = next(part for part in re.split(r"&&", whole) if command.words[0] in part.split())
    subprocess.run(["bash", "-ec", _substituted(simple, place)], cwd=place, check=True)

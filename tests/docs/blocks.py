"""Reads the fenced blocks of Markdown files, and the simple commands in those for a shell."""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
SHELLS = {"bash", "sh", "shell", "console"}


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    file: Path
    line: int
    """Of its first line inside, from 1."""
    language: str
    text: str
    section: str
    """Heading of the second level that it stands below: there a reader begins anew."""

    @property
    def where(self) -> str:
        """File and line, as an editor opens them."""
        return f"{self.file.relative_to(REPOSITORY)}:{self.line}"


@dataclass(frozen=True)
class Command:
    """A simple command: what stands between `&&`, `;`, pipes and line ends."""

    where: str
    words: tuple[str, ...]
    """Unquoted, comments gone; redirections are words."""

    @property
    def text(self) -> str:
        """The words, one space between them."""
        return " ".join(self.words)


def documents() -> list[Path]:
    """README and what users read under docs/."""
    return [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]


def blocks(file: Path) -> Iterator[Block]:
    """Every fenced block of a file, indented ones in lists too."""
    opened: tuple[str, str, int] | None = None
    inside: list[str] = []
    section = ""
    for number, line in enumerate(file.read_text().splitlines(), start=1):
        fence = re.fullmatch(r"( *)```(\S*).*", line)
        if opened is None and fence:
            opened, inside = (fence[1], fence[2], number + 1), []
        elif opened is not None and fence and not fence[2]:
            yield Block(
                file, opened[2], opened[1], textwrap.dedent("\n".join(inside)) + "\n", section
            )
            opened = None
        elif opened is not None:
            inside.append(line)
        elif line.startswith("## "):
            section = line
    if opened is not None:
        raise ValueError(f"{file}:{opened[2] - 1}: the block is never closed")


def shell_text(block: Block) -> str:
    """What a shell would be given: the block, or the lines of a transcript that begin with `$ `."""
    if block.language in SHELLS:
        return block.text
    typed = [line[2:] for line in block.text.splitlines() if line.startswith("$ ")]
    return "\n".join(typed) if not block.language else ""


def commands(block: Block) -> Iterator[Command]:
    """The simple commands of a block for a shell, in order; of transcripts too."""
    line = block.line
    for logical in re.split(r"(?<!\\)\n", shell_text(block)):
        lexer = shlex.shlex(logical.replace("\\\n", " "), posix=True, punctuation_chars=";&|")
        lexer.whitespace_split = True
        where = f"{block.file.relative_to(REPOSITORY)}:{line}"
        words: list[str] = []
        for word in [*lexer, ";"]:
            if word and set(word) <= set(";&|"):
                if words:
                    yield Command(where, tuple(words))
                words = []
            else:
                words.append(word)
        line += logical.count("\n") + 1

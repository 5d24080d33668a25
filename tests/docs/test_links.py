"""Every relative link, picture and anchor in the project's Markdown leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from .blocks import REPOSITORY, documents

FILES = sorted({*REPOSITORY.glob("*.md"), *documents()})
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def _anchors(file: Path) -> set[str]:
    """Headings as GitHub names them: lower case, punctuation gone, blanks to hyphens."""
    text = re.sub(r"```.*?```", "", file.read_text(), flags=re.S)
    titles = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(REPOSITORY)))
def test_relative_links_lead_somewhere(file: Path) -> None:
    text = re.sub(r"```.*?```", "", file.read_text(), flags=re.S)
    broken = []
    for link in LINK.findall(text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = unquote(link).partition("#")
        target = (file.parent / path).resolve() if path else file
        inside = target.is_relative_to(REPOSITORY) and target.exists()
        if not inside or (anchor and anchor not in _anchors(target)):
            broken.append(link)
    assert not broken


def test_pictures_in_the_docs_are_shown_somewhere() -> None:
    shown = "\n".join(file.read_text() for file in FILES)
    images = sorted((REPOSITORY / "docs/images").iterdir())
    assert images and not [image.name for image in images if f"images/{image.name}" not in shown]

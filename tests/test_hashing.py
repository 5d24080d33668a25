"""Hashes depend on bytes, on names and on the loaded code."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline import hashing
from pipeline.hashing import code_hash, folder_hash, sha256_file


def test_the_hash_of_a_file_is_sha256(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    assert sha256_file(tmp_path / "empty").startswith("e3b0c44298fc1c14")


def test_the_hash_of_a_folder_depends_on_names_and_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    first = folder_hash(tmp_path)
    (tmp_path / "a").write_text("2")
    second = folder_hash(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    assert len({first, second, folder_hash(tmp_path)}) == 3


def test_the_hash_of_the_code_depends_on_the_loaded_modules(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = code_hash()
    assert code_hash() == before
    monkeypatch.setattr(hashing, "sha256_file", lambda path: "another")
    assert code_hash() != before

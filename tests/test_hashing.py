"""Hashes know bytes, names and the code that is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline import hashing
from pipeline.hashing import code_hash, folder_hash, sha256_file


def test_a_file_s_hash_is_sha256(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    assert sha256_file(tmp_path / "empty").startswith("e3b0c44298fc1c14")


def test_a_folder_s_hash_knows_names_and_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    first = folder_hash(tmp_path)
    (tmp_path / "a").write_text("2")
    second = folder_hash(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    assert len({first, second, folder_hash(tmp_path)}) == 3


def test_the_code_s_hash_is_that_of_the_loaded_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    before = code_hash()
    assert code_hash() == before
    monkeypatch.setattr(hashing, "sha256_file", lambda path: "another")
    assert code_hash() != before

"""Hashes of files, folders and the loaded code. Needs only the standard library."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

SHELL = {"cli.py", "__main__.py"}
"""Modules that cannot change a result: they only pass parameters on, which are hashed."""


def sha256_file(path: Path) -> str:
    """Compute the SHA-256 of a file, hexadecimal.

    Args:
        path: the file.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_hash(folder: Path) -> str:
    """Compute a hash of all files below a folder, of their names and bytes.

    Args:
        folder: for instance a zarr.
    """
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder)} {sha256_file(path)}\n".encode())
    return digest.hexdigest()


def code_hash() -> str:
    """Compute a hash of the loaded modules of the pipeline, except those of the command line."""
    package = Path(__file__).parent
    loaded = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    ours = (file for file in loaded if file is not None and file.startswith(f"{package}{os.sep}"))
    files = {Path(file) for file in ours if Path(file).name not in SHELL}
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(f"{path.relative_to(package)} {sha256_file(path)}\n".encode())
    return digest.hexdigest()

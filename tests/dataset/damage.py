"""Damages a zarr array by array."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.dataset.zarr_arrays import StoreError


def check_that_damage_is_named(path: Path, read: Callable[[], object], *optional: str) -> None:
    """Remove, then garble each array: the error names the zarr and the array.

    Args:
        path: the zarr, of format 2.
        read: reads all of it.
        optional: arrays that may be missing.
    """
    read()
    arrays = [file.parent for file in path.rglob(".zarray")]
    assert len(arrays) >= 3
    for array in arrays:
        name = array.relative_to(path).as_posix()
        if name not in optional:
            array.rename(path.parent / "aside")
            with pytest.raises(StoreError, match=re.escape(f"{path}: array {name} is missing")):
                read()
            (path.parent / "aside").rename(array)
        chunk = max(file for file in array.iterdir() if not file.name.startswith("."))
        content = chunk.read_bytes()
        chunk.write_bytes(b"garbage")
        with pytest.raises(StoreError, match=re.escape(f"{path}: {name} cannot be read")):
            read()
        chunk.write_bytes(content)

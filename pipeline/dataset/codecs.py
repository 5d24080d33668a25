"""Refuses zarr arrays whose decoding could run code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import zarr

from pipeline.errors import PipelineError

# Codecs that turn bytes into bytes or numbers; pickle, among others, is not one of them.
_PLAIN = {
    "adler32", "astype", "bitround", "blosc", "bytes", "bz2", "crc32", "crc32c", "delta",
    "fixedscaleoffset", "fletcher32", "gzip", "lz4", "lzma", "packbits", "quantize",
    "sharding_indexed", "shuffle", "transpose", "zlib", "zstd",
}  # fmt: skip


class CodecError(PipelineError):
    """An array is stored in a way that is not safe to read, or holds no numbers."""


def require_plain(array: zarr.Array[Any], name: str, path: Path) -> None:
    """Refuse an array of objects, and one that anything but plain codecs encodes.

    Args:
        array: opened, not yet read.
        name: its path in the group, for the message.
        path: the zarr folder, for the message.

    Raises:
        CodecError: the array holds no numbers, or names a codec that is not known to be plain.
    """
    if array.dtype.kind not in "fiub":
        raise CodecError(f"{path}: {name} holds {array.dtype}, expected numbers; write it again")
    metadata: Any = array.metadata.to_dict()
    named = _names([metadata.get(key) for key in ("filters", "compressor", "codecs")])
    strange = sorted(named - _PLAIN)
    if strange:
        raise CodecError(
            f"{path}: {name} is encoded with {', '.join(strange)}, which is not decoded here; "
            f"expected one of {', '.join(sorted(_PLAIN))}: write the zarr again without it"
        )


def _names(entry: Any) -> set[str]:
    """Names of codecs anywhere in their configuration."""
    if isinstance(entry, list | tuple):
        return {name for part in entry for name in _names(part)}
    if not isinstance(entry, dict):
        return set()
    own = {str(entry[key]).removeprefix("numcodecs.") for key in ("id", "name") if key in entry}
    inside = entry.get("configuration", {})
    return own | _names([inside.get("codecs"), inside.get("index_codecs")])

"""Unpacks zstd, in memory and on disk, and refuses what unpacks to far more than a recording holds.

A few kilobytes of zstd can hold gigabytes of zeros.
"""

from __future__ import annotations

from pathlib import Path

from backports import zstd

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
MAX_BYTES = 64 * 2**20
"""Largest message after unpacking: a plan of 300,000 points for six joints."""
# Files of joint states of an arm at rest shrink by a factor of about 100.
_MAX_FACTOR = 1000
_BLOCK_BYTES = 2**20


class CompressionError(ValueError):
    """Data are not zstd, are cut off, or unpack to too much."""


def unpack_message(packed: bytes, limit: int = MAX_BYTES) -> bytes:
    """A message without its compression.

    Args:
        packed: one or more zstd frames.
        limit: most bytes that it may have.

    Raises:
        CompressionError: the message is not zstd, is cut off, or is larger than the limit.
    """
    parts: list[bytes] = []
    left = limit
    while packed:
        unpacker = zstd.ZstdDecompressor()
        try:
            parts.append(unpacker.decompress(packed, max_length=left + 1))
        except zstd.ZstdError as error:
            raise CompressionError(str(error)) from error
        left -= len(parts[-1])
        if left < 0:
            raise CompressionError(
                f"unpacks to more than {limit} bytes, expected a smaller message"
            )
        if not unpacker.eof:
            raise CompressionError("the compressed data end too early")
        packed = unpacker.unused_data
    return b"".join(parts)


def unpack_file(packed: Path, plain: Path) -> None:
    """Unpack a file.

    Args:
        packed: a file in zstd.
        plain: the file to write.

    Raises:
        CompressionError: the file unpacks to more than a thousand times its size.
        OSError: a file cannot be read or written.
        EOFError: the compressed file is cut off.
        zstd.ZstdError: the file is not zstd.
    """
    limit = max(MAX_BYTES, _MAX_FACTOR * packed.stat().st_size)
    written = 0
    with zstd.open(packed, "rb") as source, plain.open("wb") as target:
        while block := source.read(_BLOCK_BYTES):
            written += len(block)
            if written > limit:
                raise CompressionError(
                    f"unpacks to more than {limit} bytes, {_MAX_FACTOR} times its size; expected a "
                    "recording: if it is one, unpack it with `zstd -d`"
                )
            target.write(block)

"""Compressed data are unpacked up to a limit, so a few bytes cannot fill the memory."""

import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from pipeline.recordings.rosbag.compression import (
    MAX_BYTES,
    CompressionError,
    unpack_file,
    unpack_message,
)


@given(st.lists(st.binary(max_size=3000), min_size=1, max_size=4))
def test_messages_of_one_or_more_frames_are_unpacked_as_the_library_does(parts):
    packed = b"".join(zstd.compress(part) for part in parts)
    assert unpack_message(packed) == zstd.decompress(packed) == b"".join(parts)


@given(st.binary(max_size=300), st.integers(0, 400))
def test_a_message_may_have_as_many_bytes_as_the_limit_and_not_one_more(data, limit):
    packed = zstd.compress(data)
    if len(data) <= limit:
        assert unpack_message(packed, limit) == data
    else:
        with pytest.raises(CompressionError, match=f"unpacks to more than {limit} bytes"):
            unpack_message(packed, limit)


@pytest.mark.parametrize("keep", [1, 6, 12])
def test_a_message_that_is_cut_off_is_refused(keep):
    packed = zstd.compress(b"joint states" * 9)
    with pytest.raises(CompressionError, match="end too early"):
        unpack_message(packed[:-keep])


def test_a_message_that_is_not_zstd_is_refused():
    with pytest.raises(CompressionError):
        unpack_message(b"no zstd at all")


def test_a_file_is_unpacked(tmp_path):
    data = bytes(range(256)) * 10_000
    (tmp_path / "a.zstd").write_bytes(zstd.compress(data))
    unpack_file(tmp_path / "a.zstd", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == data


def test_a_file_that_unpacks_to_a_thousand_times_its_size_is_refused(tmp_path):
    (tmp_path / "a.zstd").write_bytes(zstd.compress(bytes(4 * MAX_BYTES), 19))
    with pytest.raises(CompressionError, match="1000 times its size"):
        unpack_file(tmp_path / "a.zstd", tmp_path / "a")
    assert (tmp_path / "a").stat().st_size <= MAX_BYTES

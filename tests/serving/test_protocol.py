"""Messages survive the transport, and malformed ones are refused."""

from __future__ import annotations

import contextlib

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pipeline.serving.protocol import WireError, decode, encode


@given(
    arrays.arrays(
        st.sampled_from([np.float32, np.float64, np.int64, np.bool_]),
        arrays.array_shapes(min_dims=0, max_dims=3, min_side=0),
    )
)
def test_arrays_are_unpacked_as_they_were_packed(array: np.ndarray) -> None:
    back = decode(encode({"x": {"y": array}}))["x"]["y"]
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(back, array)


def test_an_array_is_a_map_as_openpi_writes_it() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)[:, ::2]
    assert msgpack.unpackb(encode({"x": array}))["x"] == {
        "__ndarray__": True, "data": np.float32([0, 2, 3, 5]).tobytes(), "dtype": "<f4",
        "shape": [2, 2],
    }  # fmt: skip


def test_keys_of_other_clients_may_be_bytes_or_numbers() -> None:
    assert decode(msgpack.packb({1: 2})) == {"1": 2}
    content = {b"__ndarray__": True, b"data": b"\0" * 8, b"dtype": "<f4", b"shape": (2,)}
    message = decode(msgpack.packb({b"call": "act", b"observation": {b"joint_pos": content}}))
    np.testing.assert_array_equal(message["observation"]["joint_pos"], np.zeros(2, np.float32))


@given(
    st.lists(st.integers() | st.floats() | st.text() | st.none(), max_size=3),
    st.sampled_from(["<f4", "<f8", "|b1", "<i8", "|O", "<U4", "<f4,<f4"]) | st.text(max_size=4),
)
def test_any_shape_and_type_is_an_array_or_an_error(shape: list[object], dtype: str) -> None:
    content = {"__ndarray__": True, "data": b"12345678", "dtype": dtype, "shape": shape}
    try:
        packed = msgpack.packb({"x": content})
    except (OverflowError, UnicodeEncodeError):
        return
    with contextlib.suppress(WireError):
        assert isinstance(decode(packed)["x"], np.ndarray)


@given(st.binary(max_size=64))
def test_any_bytes_are_a_map_or_an_error(data: bytes) -> None:
    with contextlib.suppress(WireError):
        assert isinstance(decode(data), dict)


@pytest.mark.parametrize(
    "content",
    [
        {"__ndarray__": True, "data": b"123", "dtype": "<f4", "shape": [1]},
        {"__ndarray__": True, "data": b"1234", "dtype": "<f4", "shape": [2]},
        {"__ndarray__": True, "data": b"12345678", "dtype": "|O", "shape": [1]},
        {"__ndarray__": True, "data": b"1234", "dtype": "no type", "shape": [1]},
        {"__ndarray__": True, "data": b"1234"},
        {"__ndarray__": True, "data": b"1234", "dtype": "<f4", "shape": [-3]},
        {"__ndarray__": True, "data": b"1234", "dtype": "<f4", "shape": [float("inf")]},
        {"__ndarray__": True, "data": b"1234", "dtype": "<f4", "shape": [float("nan")]},
        {"__ndarray__": True, "data": b"1234", "dtype": "<f4", "shape": [1.0]},
        {"__ndarray__": True, "data": b"1234", "dtype": "<f4", "shape": ["1"]},
        {"__ndarray__": True, "data": b"1234", "dtype": "<f4", "shape": [2**63]},
    ],
)
def test_a_malformed_array_is_refused(content: dict[str, object]) -> None:
    with pytest.raises(WireError, match="array"):
        decode(msgpack.packb({"x": content}))


def test_text_frames_and_other_values_are_refused() -> None:
    with pytest.raises(WireError, match="text frame"):
        decode("hello")
    with pytest.raises(WireError, match="is a list, expected a map"):
        decode(msgpack.packb([1, 2]))
    with pytest.raises(TypeError, match="set cannot be sent"):
        encode({"x": {1, 2}})

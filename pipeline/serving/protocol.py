"""Messages of the policy server: msgpack maps whose arrays are written as openpi writes them.

An array is {"__ndarray__": true, "data": bytes, "dtype": "<f4", "shape": [..]}; plain lists of
numbers are accepted too. Nothing is unpickled. Needs only NumPy and msgpack.
"""

from __future__ import annotations

import operator
from typing import Any

import msgpack
import numpy as np

from pipeline.errors import PipelineError

KINDS = "biuf"
"""Kinds of NumPy types that a message may hold: Booleans, integers, floats."""


class WireError(PipelineError):
    """A message is not a msgpack map, or holds a malformed array."""


def encode(message: dict[str, Any]) -> bytes:
    """Pack a message.

    Args:
        message: strings, numbers, lists, maps and arrays.
    """
    packed: bytes = msgpack.packb(message, default=_from_array)
    return packed


def decode(data: bytes | str) -> dict[str, Any]:
    """Unpack a message.

    Args:
        data: one frame.

    Raises:
        WireError: it is not a msgpack map, or an array in it is malformed.
    """
    if isinstance(data, str):
        raise WireError("a text frame came, expected a binary one with a msgpack map")
    try:
        message = msgpack.unpackb(data, object_hook=_to_array, strict_map_key=False)
    except WireError:
        raise
    except (ValueError, TypeError, msgpack.exceptions.UnpackException, RecursionError) as error:
        raise WireError(f"{len(data)} bytes that are not msgpack: {error}") from error
    if not isinstance(message, dict):
        raise WireError(f"the message is a {type(message).__name__}, expected a map")
    return {_text(key): value for key, value in message.items()}


def _text(key: Any) -> str:
    return key.decode("utf-8", "replace") if isinstance(key, bytes) else str(key)


def _from_array(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return {
            "__ndarray__": True,
            "data": value.tobytes(),
            "dtype": value.dtype.str,
            "shape": list(value.shape),
        }
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a {type(value).__name__} cannot be sent")


def _to_array(content: dict[Any, Any]) -> Any:
    fields = {_text(key): value for key, value in content.items()}
    if "__ndarray__" not in fields:
        return fields
    try:
        dtype = np.dtype(_text(fields["dtype"]))
        if dtype.kind not in KINDS:
            raise WireError(f"an array of type {dtype}, expected numbers")
        shape = tuple(operator.index(size) for size in fields["shape"])
        if min(shape, default=0) < 0:
            raise WireError(f"an array of shape {shape}")
        return np.frombuffer(fields["data"], dtype).reshape(shape)
    except (KeyError, TypeError, ValueError, OverflowError, SyntaxError) as error:
        raise WireError(f"a malformed array: {error!r}") from error

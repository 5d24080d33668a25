"""Keeps the last traced graph: the stages evaluate and export trace the same one, for seconds each.

The file is named by a hash of everything that the graph depends on: weights, configuration,
settings, the code of this package, and the libraries that write graphs.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from pipeline.policy.checkpoint import Checkpoint
from pipeline.run import versions


def graph_key(checkpoint: Checkpoint, *settings: object) -> str:
    """Compute the name of a graph.

    Args:
        checkpoint: its averaged weights and its configuration count.
        settings: of the export, as JSON values.
    """
    digest = hashlib.sha256()
    libraries = versions("torch", "onnx", "onnxscript")
    about = [checkpoint.config, checkpoint.layout.to_dict(), settings, libraries]
    digest.update(json.dumps(about, sort_keys=True).encode())
    for name, weights in sorted(checkpoint.ema.items()):
        digest.update(name.encode() + weights.cpu().numpy().tobytes())
    package = Path(__file__).parents[1]
    for path in sorted(package.rglob("*.py")):
        digest.update(str(path.relative_to(package)).encode() + path.read_bytes())
    return digest.hexdigest()[:32]


def cached_graph(
    folder: Path | None, key: str, make: Callable[[], onnx.ModelProto]
) -> onnx.ModelProto:
    """The graph of a key: the stored one, or a new one, which replaces what is stored.

    Args:
        folder: of the stored graph; None stores nothing. One that cannot be written is no error.
        key: of `graph_key`.
        make: traces the graph.
    """
    if folder is None:
        return make()
    file = folder / f"{key}.onnx"
    try:
        return onnx.load_model_from_string(file.read_bytes())
    except (OSError, DecodeError):
        proto = make()
    partial = folder / f".{key}.{os.getpid()}.partial"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(proto.SerializeToString(deterministic=True))
        partial.replace(file)
        for other in folder.glob("*.onnx"):
            if other != file:
                other.unlink(missing_ok=True)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    return proto

"""An engine that does not fit is named in one sentence and built anew."""

from __future__ import annotations

import json
import logging
from importlib.util import find_spec
from pathlib import Path

import pytest

from pipeline.hashing import sha256_file
from pipeline.policy.checkpoint import Bundle
from pipeline.runtime.backends.driver_process import Gpu
from pipeline.runtime.backends.engine_store import (
    EngineStoreError,
    build,
    default_cache,
    engine_name,
    fitting_engine,
    library_version,
    mismatch,
)

RTX = "tensorrt-rtx"
pytestmark = pytest.mark.skipif(
    find_spec("tensorrt_rtx") is None, reason="tensorrt-rtx is for Linux x86-64"
)


@pytest.fixture(scope="module")
def version() -> str:
    found, reason = library_version(RTX)
    assert found is not None, reason
    return found


@pytest.fixture
def export(exported: tuple[Bundle, Path], tmp_path: Path) -> Path:
    """A folder with policy.onnx and a real engine for 8.6, built here without a GPU."""
    (tmp_path / "policy.onnx").write_bytes(exported[1].read_bytes())
    (tmp_path / "engines").mkdir()
    engine = tmp_path / "engines" / engine_name(RTX, "8.6")
    assert build(tmp_path / "policy.onnx", engine, RTX, "8.6", (1, 2, 8))["status"] == "built"
    return tmp_path


def test_what_does_not_fit_is_one_sentence_and_the_cache_is_used_again(
    export: Path, version: str, caplog: pytest.LogCaptureFixture
) -> None:
    graph, cache = export / "policy.onnx", export / "cache"
    engine = export / "engines" / engine_name(RTX, "8.6")
    digest, here, other = sha256_file(graph), Gpu("A", "8.6", "13.0"), Gpu("B", "8.9", "13.0")
    assert mismatch(engine, digest, RTX, version, here) is None
    assert fitting_engine(graph, RTX, version, here, cache) == engine
    assert not cache.exists()
    for arguments, sentence in (
        ((digest, RTX, version, other), "is for compute capability 8.6, this GPU has 8.9"),
        ((digest, RTX, "9.9", here), f"was built by tensorrt-rtx {version}, but 9.9 is installed"),
        ((digest, "tensorrt", version, here), "was built by tensorrt-rtx, but tensorrt is asked"),
        (("0" * 64, RTX, version, here), "was made from another policy.onnx"),
    ):
        assert sentence in str(mismatch(engine, *arguments))
    engine.write_bytes(engine.read_bytes()[:-9])
    assert "is corrupted" in str(mismatch(engine, digest, RTX, version, here))
    with caplog.at_level(logging.INFO):
        anew = fitting_engine(graph, RTX, version, here, cache)
    assert "is corrupted" in caplog.text and "building it anew" in caplog.text
    assert anew.parent == cache
    assert json.loads(anew.with_suffix(".json").read_text())["profile"]["opt_batch"] == 2
    stamp = anew.stat().st_mtime_ns
    with caplog.at_level(logging.INFO):
        assert fitting_engine(graph, RTX, version, here, cache) == anew
    assert anew.stat().st_mtime_ns == stamp
    assert "rebuilt before" in caplog.text


def test_an_engine_without_its_sidecar_is_not_trusted(export: Path, version: str) -> None:
    engine = export / "engines" / engine_name(RTX, "8.6")
    gpu, digest = Gpu("A", "8.6"), sha256_file(export / "policy.onnx")
    engine.with_suffix(".json").write_text("{")
    assert "is no JSON" in str(mismatch(engine, digest, RTX, version, gpu))
    engine.with_suffix(".json").unlink()
    assert "has no sidecar" in str(mismatch(engine, digest, RTX, version, gpu))
    missing = engine.with_name("none.engine")
    assert "there is no engine none.engine" in str(mismatch(missing, digest, RTX, version, gpu))


def test_a_rebuild_that_is_impossible_gives_the_reason(export: Path, version: str) -> None:
    with pytest.raises(EngineStoreError, match=r"there is no engine .*sm90.*skipped: no build for"):
        fitting_engine(export / "policy.onnx", RTX, version, Gpu("H", "9.0"), export / "cache")


def test_the_cache_lies_in_the_user_s_cache_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "moveit2-diffusion-policy" / "engines"


def test_a_missing_library_gives_a_reason() -> None:
    version, reason = library_version("no-such-library")
    assert version is None
    assert "no_such_library cannot be imported" in reason

"""An engine that does not fit is named in one sentence and built anew."""

from __future__ import annotations

import json
import logging
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from pipeline.hashing import sha256_file
from pipeline.policy.checkpoint import Checkpoint
from pipeline.runtime.backends.driver_process import Gpu
from pipeline.runtime.backends.engine_sidecar import mismatch
from pipeline.runtime.backends.engine_store import (
    EngineStoreError,
    build,
    default_cache,
    engine_name,
    fitting_engine,
    library_version,
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


@pytest.fixture(scope="module")
def built(exported: tuple[Checkpoint, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with policy.onnx and a real engine for 8.6, built here without a GPU."""
    folder = tmp_path_factory.mktemp("export")
    (folder / "policy.onnx").write_bytes(exported[1].read_bytes())
    (folder / "engines").mkdir()
    engine = folder / "engines" / engine_name(RTX, "8.6")
    assert build(folder / "policy.onnx", engine, RTX, "8.6", (1, 2, 8))["status"] == "built"
    return folder


@pytest.fixture
def export(built: Path, tmp_path: Path) -> Path:
    """A copy of that folder, for one test."""
    return shutil.copytree(built, tmp_path / "export")


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
    assert "is corrupted" in caplog.text and "building one from" in caplog.text
    assert anew.parent == cache
    assert json.loads(anew.with_suffix(".json").read_text())["profile"]["opt_batch"] == 2
    stamp = anew.stat().st_mtime_ns
    with caplog.at_level(logging.INFO):
        assert fitting_engine(graph, RTX, version, here, cache) == anew
    assert anew.stat().st_mtime_ns == stamp
    assert "built here before" in caplog.text


def test_a_hardware_compatible_engine_of_another_gpu_is_found(export: Path, version: str) -> None:
    graph, gpu = export / "policy.onnx", Gpu("B", "8.9", "13.0")
    engine = export / "engines" / engine_name(RTX, "8.6")
    sidecar = json.loads(engine.with_suffix(".json").read_text())
    engine.with_suffix(".json").write_text(json.dumps({**sidecar, "hardware_compatible": True}))
    assert fitting_engine(graph, RTX, version, gpu, export / "cache") == engine


def test_an_engine_that_was_fetched_is_built_anew_here(
    export: Path, version: str, caplog: pytest.LogCaptureFixture
) -> None:
    graph, cache, gpu = export / "policy.onnx", export / "cache", Gpu("A", "8.6", "13.0")
    assert (
        mismatch(
            export / "engines" / engine_name(RTX, "8.6"), sha256_file(graph), RTX, version, gpu
        )
        is None
    )
    built = fitting_engine(graph, RTX, version, gpu, cache, shipped=False)
    assert built.parent == cache
    assert "an engine is code" in caplog.text
    assert fitting_engine(graph, RTX, version, gpu, cache, shipped=False) == built


def test_a_cache_that_cannot_be_written_is_named_before_anything_is_built(
    export: Path, version: str
) -> None:
    (export / "cache").write_text("a file where a folder should be")
    for cache in (export / "cache", Path("/proc/cache")):
        with pytest.raises(EngineStoreError, match=rf"cannot be kept in {cache}.*cache="):
            fitting_engine(export / "policy.onnx", RTX, version, Gpu("B", "8.9"), cache)


def test_an_engine_that_failed_its_comparison_is_not_built_again(
    export: Path, version: str
) -> None:
    graph, gpu = export / "policy.onnx", Gpu("A", "8.6")
    failed = {
        "target": "8.6", "version": version, "status": "failed", "seconds": 4.2,
        "reason": "it differs by 1e-1 rad",
    }  # fmt: skip
    (export / "export.json").write_text(json.dumps({"backends": {RTX: [failed]}}))
    with pytest.raises(EngineStoreError, match="its export says: it differs by 1e-1 rad"):
        fitting_engine(graph, RTX, version, gpu, export / "cache")
    failed["version"] = "1.0"
    (export / "export.json").write_text(json.dumps({"backends": {RTX: [failed]}}))
    assert fitting_engine(graph, RTX, version, gpu, export / "cache").is_file()


def test_a_rebuild_that_is_impossible_gives_the_reason(export: Path, version: str) -> None:
    with pytest.raises(EngineStoreError, match=r"no engine .*sm90.*nothing for SM90.*ONNX Runtime"):
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


def test_a_user_without_a_home_folder_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    with pytest.raises(EngineStoreError, match="cache="):
        default_cache()

"""The command measures and writes; what it measures is the rooms' tests' business."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.params import Params
from pipeline.stages import bench


@pytest.fixture(scope="module")
def small(params: Params) -> Params:
    return params.override("policy", mlp_width=32, mlp_blocks=1, step_embedding=16)


def test_inference_is_measured_by_network_threads_and_backend(
    small: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One network of three and one graph: each export takes seconds.
    monkeypatch.setattr(bench, "NETWORKS", ("mlp",))
    monkeypatch.setattr(bench, "VARIANTS", [])
    bench.run(small, "inference", tmp_path / "results", 5)
    found = json.loads((tmp_path / "results/inference.json").read_text())
    assert found["machine"]["cores"] >= 1
    backends = found["networks"]["mlp"]["1 thread"]["backends"]
    assert set(backends) == {"torch", "onnxruntime", "tensorrt-rtx", "tensorrt"}
    assert backends["onnxruntime"]["calls"] == 5
    for row in backends.values():
        assert row["status"] == "run" or row["reason"]
    assert (tmp_path / "results/inference.png").stat().st_size > 1000


def test_a_served_policy_is_measured(
    small: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "CLIENTS", (1, 2))
    monkeypatch.setattr(bench, "LEAST_CALLS", 3)
    monkeypatch.setattr(bench, "available_cores", lambda: 2)
    bench.run(small, "serve", tmp_path, 10)
    found = json.loads((tmp_path / "serve.json").read_text())
    assert [(row["call"], row["workers"], row["clients"]) for row in found["served"]] == [
        (call, workers, clients)
        for call in ("act", "predict") for workers in (1, 2) for clients in (1, 2)
    ]  # fmt: skip
    assert all(row["errors"] == 0 and row["server_cpu_ms"] > 0 for row in found["served"])
    assert found["direct"]["calls"] == 10


def test_what_is_not_known_is_refused(params: Params, tmp_path: Path) -> None:
    with pytest.raises(bench.BenchError, match="'training' is unknown; known: inference, serve"):
        bench.run(params, "training", tmp_path, 1)

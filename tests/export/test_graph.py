from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from pipeline.export import graph as graph_module
from pipeline.export.graph import OnnxExportError, export_onnx
from pipeline.layout import Layout
from pipeline.params import Params
from pipeline.policy.checkpoint import Checkpoint
from pipeline.runtime.backends.onnx_runtime import OnnxRuntimePolicy
from tests.fixtures.policy import make_checkpoint


def check(
    checkpoint: Checkpoint, path: Path, tolerance: float = 1e-5, encoded: bool = False
) -> None:
    """The graph does what torch does, for any batch: in rad, or in the network's range of ±1."""
    runtime, model = OnnxRuntimePolicy(path), checkpoint.build()
    for batch in (1, 2, 5):
        obs = checkpoint.examples[:batch]
        noise = np.random.default_rng(0).standard_normal((batch, 16, 6), dtype=np.float32)
        chunks = [torch.from_numpy(runtime.predict(obs.numpy(), noise)),
                  model(obs, torch.from_numpy(noise))]  # fmt: skip
        if encoded:
            chunks = [model.codec.encode(chunk, model.current_joints(obs)) for chunk in chunks]
        torch.testing.assert_close(*chunks, atol=tolerance, rtol=1e-7)


def test_the_mlp_s_graph_does_what_torch_does(exported: tuple[Checkpoint, Path]) -> None:
    check(*exported)


@pytest.mark.parametrize(
    "values",
    [
        {"network": "unet", "prediction": "epsilon"},
        {"actions": "absolute", "object_in_tcp": False, "inputs": ["joint_pos"], "mlp_blocks": 1},
        {"network": "transformer", "sampler": "mip", "num_inference_steps": 2},
        {"prediction": "velocity", "num_inference_steps": 2},
    ],
    ids=["unet", "plain", "transformer", "velocity"],
)
def test_other_policies_graphs_do_what_torch_does(
    params: Params, layout: Layout, tmp_path: Path, values: dict[str, object]
) -> None:
    checkpoint = make_checkpoint(params.override("policy", **values), layout)
    export_onnx(checkpoint, tmp_path / "policy.onnx", 18, {})
    check(checkpoint, tmp_path / "policy.onnx")


def test_an_unrolled_graph_does_what_the_loop_does(
    exported: tuple[Checkpoint, Path], tmp_path: Path
) -> None:
    checkpoint, looped = exported
    path = tmp_path / "policy.onnx"
    export_onnx(checkpoint, path, 18, {}, unrolled=True)
    proto = onnx.load(str(path))
    operators = {node.op_type for node in proto.graph.node if "step" in node.name}
    assert operators
    assert not {"Loop", "Gather"} & operators
    assert OnnxRuntimePolicy(path).denoising == "unrolled"
    obs, noise = checkpoint.examples[:3].numpy(), np.ones((3, 16, 6), np.float32)
    found, expected = (OnnxRuntimePolicy(p).predict(obs, noise) for p in (path, looped))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_small_network_is_unrolled_by_default_and_a_traced_graph_is_kept(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    export_onnx(checkpoint, tmp_path / "one.onnx", 18, {"a": "1"}, "auto", cache=cache)
    assert OnnxRuntimePolicy(tmp_path / "one.onnx").denoising == "unrolled"
    (kept,) = cache.iterdir()

    def export_part(*_: object) -> None:
        raise AssertionError("traced again")

    with monkeypatch.context() as patch:
        patch.setattr(graph_module, "export_part", export_part)
        export_onnx(checkpoint, tmp_path / "two.onnx", 18, {"a": "1"}, "auto", cache=cache)
        assert (tmp_path / "two.onnx").read_bytes() == (tmp_path / "one.onnx").read_bytes()
        # Another operator set is another graph.
        with pytest.raises(AssertionError, match="traced again"):
            export_onnx(checkpoint, tmp_path / "three.onnx", 19, {}, "auto", cache=cache)
    # A large graph stays a Loop; it takes the place of the one that was kept.
    monkeypatch.setattr(graph_module, "UNROLLED_NODES", 10)
    export_onnx(checkpoint, tmp_path / "two.onnx", 19, {}, "auto", cache=cache)
    assert OnnxRuntimePolicy(tmp_path / "two.onnx").denoising == "loop"
    assert len(list(cache.iterdir())) == 1 and not kept.exists()


@pytest.mark.parametrize(
    ("values", "unrolled"),
    [
        pytest.param({"network": "mlp"}, False, id="mlp"),
        pytest.param({"network": "unet"}, False, id="unet", marks=pytest.mark.slow),
        pytest.param(
            {"network": "transformer", "sampler": "mip", "num_inference_steps": 2},
            True,
            id="transformer",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_in_float16_the_network_is_float16_and_the_rest_is_not(
    params: Params, layout: Layout, tmp_path: Path, values: dict[str, object], unrolled: bool
) -> None:
    checkpoint = make_checkpoint(params.override("policy", **values), layout)
    path = tmp_path / "policy.onnx"
    export_onnx(checkpoint, path, 18, {}, unrolled, "float16")
    assert OnnxRuntimePolicy(path).precision == "float16"
    proto = onnx.load(str(path))
    kinds = {tensor.name: tensor.data_type for tensor in proto.graph.initializer}
    network = [kind for name, kind in kinds.items() if ".network." in name]
    assert set(network) == {onnx.TensorProto.FLOAT16}
    rest = [kind for name, kind in kinds.items() if "kinematics" in name or "codec" in name]
    assert rest
    assert onnx.TensorProto.FLOAT16 not in rest
    # Eight units in the last place of values just below 1: 0.7 mrad where the arm must stop, and
    # more further away, as asinh spreads the range. The U-Net's hundred roundings a step cost six.
    check(checkpoint, path, 2.0**-8, encoded=True)


def _shapes(values: Iterable[onnx.ValueInfoProto]) -> dict[str, list[str | int]]:
    return {
        value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in values
    }


def test_the_graph_says_what_it_is(exported: tuple[Checkpoint, Path], layout: Layout) -> None:
    proto = onnx.load(str(exported[1]))
    assert _shapes(proto.graph.input) == {"obs": ["batch", 2, 25], "noise": ["batch", 16, 6]}
    assert _shapes(proto.graph.output) == {"action": ["batch", 16, 6]}
    assert [node.op_type for node in proto.graph.node].count("Loop") == 1
    metadata = {entry.key: entry.value for entry in proto.metadata_props}
    assert json.loads(metadata["layout"])["fingerprint"] == layout.fingerprint
    assert metadata["fingerprint"] == layout.fingerprint
    assert json.loads(metadata["config"])["horizon"] == 16
    assert metadata["rate_hz"] == "30.0"
    assert metadata["checkpoint_sha256"] == "abc"


def test_an_operator_set_that_torch_does_not_write_is_refused(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    with pytest.raises(OnnxExportError, match=r"export\.opset"):
        export_onnx(checkpoint, tmp_path / "policy.onnx", opset=99, metadata={})
    assert not (tmp_path / "policy.onnx").exists()

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from pipeline.export.graph import OnnxExportError, export_onnx
from pipeline.layout import Layout
from pipeline.params import Params
from pipeline.policy.checkpoint import Bundle
from pipeline.runtime.backends.onnx_runtime import OnnxRuntimePolicy
from tests.fixtures.policy import make_bundle


def check(bundle: Bundle, path: Path, tolerance_rad: float = 1e-5) -> None:
    """The graph does what torch does, for any batch."""
    runtime, model = OnnxRuntimePolicy(path), bundle.build()
    for batch in (1, 2, 5):
        obs = bundle.examples[:batch]
        noise = np.random.default_rng(0).standard_normal((batch, 16, 6), dtype=np.float32)
        expected = model(obs, torch.from_numpy(noise)).numpy()
        found = runtime.predict(obs.numpy(), noise)
        np.testing.assert_allclose(found, expected, atol=tolerance_rad)


def test_the_mlp_s_graph_does_what_torch_does(exported: tuple[Bundle, Path]) -> None:
    check(*exported)


@pytest.mark.parametrize(
    "values",
    [
        {"network": "unet", "prediction": "epsilon"},
        {"actions": "absolute", "object_in_tcp": False, "inputs": ["joint_pos"], "mlp_blocks": 1},
        {"network": "transformer", "sampler": "ddpm"},
        {"prediction": "velocity", "num_inference_steps": 2},
    ],
    ids=["unet", "plain", "transformer", "velocity"],
)
def test_other_policies_graphs_do_what_torch_does(
    params: Params, layout: Layout, tmp_path: Path, values: dict[str, object]
) -> None:
    bundle = make_bundle(params.override("policy", **values), layout)
    export_onnx(bundle, tmp_path / "policy.onnx", 18, {})
    check(bundle, tmp_path / "policy.onnx")


def test_an_unrolled_graph_does_what_the_loop_does(
    exported: tuple[Bundle, Path], tmp_path: Path
) -> None:
    bundle, looped = exported
    path = tmp_path / "policy.onnx"
    export_onnx(bundle, path, 18, {}, unrolled=True)
    proto = onnx.load(str(path))
    operators = {node.op_type for node in proto.graph.node if "step" in node.name}
    assert operators
    assert not {"Loop", "Gather"} & operators
    assert OnnxRuntimePolicy(path).denoising == "unrolled"
    obs, noise = bundle.examples[:3].numpy(), np.ones((3, 16, 6), np.float32)
    found, expected = (OnnxRuntimePolicy(p).predict(obs, noise) for p in (path, looped))
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("values", "unrolled"),
    [
        pytest.param({"network": "mlp"}, False, id="mlp"),
        pytest.param({"network": "unet"}, False, id="unet", marks=pytest.mark.slow),
        pytest.param(
            {"network": "transformer", "sampler": "ddpm"},
            True,
            id="transformer",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_in_half_the_network_is_float16_and_the_rest_is_not(
    params: Params, layout: Layout, tmp_path: Path, values: dict[str, object], unrolled: bool
) -> None:
    bundle = make_bundle(params.override("policy", **values), layout)
    path = tmp_path / "policy.onnx"
    export_onnx(bundle, path, 18, {}, unrolled, "float16")
    assert OnnxRuntimePolicy(path).precision == "float16"
    proto = onnx.load(str(path))
    kinds = {tensor.name: tensor.data_type for tensor in proto.graph.initializer}
    network = [kind for name, kind in kinds.items() if ".network." in name]
    assert set(network) == {onnx.TensorProto.FLOAT16}
    rest = [kind for name, kind in kinds.items() if "kinematics" in name or "codec" in name]
    assert rest
    assert onnx.TensorProto.FLOAT16 not in rest
    # Ten bits of chunks of half a radian, in a few steps of an untrained network.
    check(bundle, path, 5e-3)


def test_the_graph_says_what_it_is(exported: tuple[Bundle, Path], layout: Layout) -> None:
    proto = onnx.load(str(exported[1]))
    assert [value.name for value in proto.graph.input] == ["obs", "noise"]
    assert [value.name for value in proto.graph.output] == ["action"]
    assert [node.op_type for node in proto.graph.node].count("Loop") == 1
    metadata = {entry.key: entry.value for entry in proto.metadata_props}
    assert json.loads(metadata["layout"])["fingerprint"] == layout.fingerprint
    assert metadata["fingerprint"] == layout.fingerprint
    assert json.loads(metadata["config"])["horizon"] == 16
    assert metadata["rate_hz"] == "30.0"
    assert metadata["checkpoint_sha256"] == "abc"


def test_an_operator_set_that_torch_does_not_write_is_refused(
    bundle: Bundle, tmp_path: Path
) -> None:
    with pytest.raises(OnnxExportError, match=r"export\.opset"):
        export_onnx(bundle, tmp_path / "policy.onnx", opset=99, metadata={})
    assert not (tmp_path / "policy.onnx").exists()

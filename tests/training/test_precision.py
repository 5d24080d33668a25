from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.layout import Layout
from pipeline.policy.model import PolicyModel
from pipeline.training.precision import (
    LONG_TRAINING,
    ComputeError,
    Loss,
    autocast,
    choose_compile,
    choose_precision,
    training_loss,
)
from tests.fixtures.policy import random_states

CPU, GPU = torch.device("cpu"), torch.device("cuda")
Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


@pytest.fixture
def batch(layout: Layout, rng: np.random.Generator) -> Batch:
    obs = torch.from_numpy(random_states(rng, layout, 8, 2))
    action = obs[:, -1:, :6] + 0.1 * torch.randn(8, 16, 6)
    return obs, action, torch.randn(16, 16, 6), torch.randint(100, (16,))


def pretend_gpu(monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int]) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Pretended GPU")


def test_a_cpu_computes_in_float32_uncompiled_unless_asked() -> None:
    assert choose_precision("auto", CPU) == torch.float32
    assert choose_precision("bf16", CPU) == torch.bfloat16
    assert choose_compile("auto", CPU, LONG_TRAINING) is None
    assert choose_compile("off", CPU, LONG_TRAINING) is None
    with pytest.raises(ComputeError, match="graphs, but cpu has none"):
        choose_compile("graphs", CPU, 1)


@pytest.mark.parametrize("bf16", [True, False])
def test_a_gpu_takes_bfloat16_where_it_has_it(monkeypatch: pytest.MonkeyPatch, bf16: bool) -> None:
    pretend_gpu(monkeypatch, (8, 0) if bf16 else (7, 5))
    assert choose_precision("auto", GPU) == (torch.bfloat16 if bf16 else torch.float32)
    assert choose_precision("fp32", GPU) == torch.float32
    if not bf16:
        with pytest.raises(ComputeError, match="Pretended GPU has no bfloat16"):
            choose_precision("bf16", GPU)


def test_a_gpu_that_cannot_compile_is_left_alone_or_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_gpu(monkeypatch, (6, 1))
    assert choose_compile("auto", GPU, LONG_TRAINING) is None
    with pytest.raises(ComputeError, match=r"compute capability 7\.0"):
        choose_compile("on", GPU, 1)


def test_without_a_compiler_compile_on_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(ComputeError, match=r"C\+\+ compiler"):
        choose_compile("on", CPU, 1)
    pretend_gpu(monkeypatch, (9, 0))
    assert choose_compile("auto", GPU, LONG_TRAINING) is None
    with pytest.raises(ComputeError, match=r"a C compiler \(gcc\)"):
        choose_compile("on", GPU, 1)


def test_auto_compiles_only_trainings_that_repay_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_gpu(monkeypatch, (9, 0))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    monkeypatch.setattr("shutil.which", lambda name: name)
    assert choose_compile("auto", GPU, LONG_TRAINING - 1) is None
    assert choose_compile("auto", GPU, LONG_TRAINING) == {"mode": "reduce-overhead"}
    assert choose_compile("on", GPU, 1) == {"mode": "reduce-overhead"}
    assert choose_compile("graphs", GPU, 1) == {"backend": "cudagraphs"}


def test_only_the_full_batch_is_compiled(
    fitted: PolicyModel, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[int] = []

    def compile_nothing(loss: Loss, **_: object) -> Loss:
        def counted(*inputs: torch.Tensor) -> torch.Tensor:
            compiled.append(len(inputs[2]))
            return loss(*inputs)

        return counted

    monkeypatch.setattr(torch, "compile", compile_nothing)
    monkeypatch.setattr("shutil.which", lambda name: name)
    rows, whole = len(batch[2]), prepared(fitted, batch)
    loss = training_loss(fitted, "fp32", "on", 1, rows)
    condition, clean, noise, steps = whole
    few = (condition[:3], clean[:3], noise[:6], steps[:6])
    assert torch.equal(loss(*whole), fitted.denoising_loss(*whole))
    assert torch.equal(loss(*few), fitted.denoising_loss(*few))
    assert compiled == [rows]


def prepared(model: PolicyModel, batch: Batch) -> Batch:
    """Condition and encoded actions in place of observations and actions."""
    obs, action, noise, steps = batch
    with torch.no_grad():
        clean = model.codec.encode(action, model.current_joints(obs))
        return model.condition(obs), clean, noise, steps


def test_the_default_loss_is_the_model_s_own(fitted: PolicyModel, batch: Batch) -> None:
    loss = training_loss(fitted, "auto", "auto", 1, 16)(*prepared(fitted, batch))
    assert torch.equal(loss, fitted.loss(*batch))


def test_bfloat16_reaches_the_network_and_not_the_loss(fitted: PolicyModel, batch: Batch) -> None:
    seen: dict[str, torch.dtype] = {}
    fitted.network.enter.register_forward_hook(  # type: ignore[union-attr]
        lambda *call: seen.update(network=call[2].dtype)
    )
    fitted.train().requires_grad_(True)
    loss = training_loss(fitted, "bf16", "off", 1, 16)(*prepared(fitted, batch))
    torch.autograd.backward(loss)
    assert loss.dtype == torch.float32
    assert seen["network"] == torch.bfloat16
    assert all(weight.grad.dtype == torch.float32 for weight in fitted.network.parameters())  # type: ignore[union-attr]
    torch.testing.assert_close(loss, fitted.loss(*batch), rtol=0.05, atol=0.01)


def test_float32_needs_no_autocast() -> None:
    with autocast(CPU, torch.float32):
        assert not torch.is_autocast_enabled("cpu")
    with autocast(CPU, torch.bfloat16):
        assert torch.is_autocast_enabled("cpu")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_compiled_loss_is_the_same(fitted: PolicyModel, batch: Batch) -> None:
    fitted.train().requires_grad_(True)
    plain, compiled = (
        fitted.loss(*batch),
        training_loss(fitted, "fp32", "on", 1, 16)(*prepared(fitted, batch)),
    )
    torch.testing.assert_close(compiled, plain, rtol=1e-4, atol=1e-6)
    grads = [torch.autograd.grad(loss, list(fitted.parameters())) for loss in (plain, compiled)]
    for ours, theirs in zip(*grads, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)

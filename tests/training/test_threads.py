"""Threads are found by trying, leave no trace, and stay what they were."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.layout import Layout
from pipeline.params import Params
from pipeline.policy.features import ObservationFeatures
from pipeline.training.threads import (
    fastest,
    find_threads,
    remembered_threads,
    thread_choices,
    usable_cores,
)
from tests.fixtures.policy import make_fitted, random_states


@pytest.mark.parametrize(("cores", "found"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6])])
def test_threads_are_powers_of_two_and_all_cores(cores: int, found: list[int]) -> None:
    assert thread_choices(cores) == found


def test_more_threads_must_pay() -> None:
    times = {1: 1.0, 2: 0.95, 4: 0.5, 8: 0.48}
    assert fastest([1, 2, 4, 8], times.__getitem__) == 4
    assert fastest([1, 2], times.__getitem__) == 1


def test_finding_threads_leaves_the_model_and_torch_as_they_were(
    params: Params, layout: Layout, rng: np.random.Generator
) -> None:
    obs = torch.from_numpy(random_states(rng, layout, 8, 2))
    action = obs[:, -1:, :6] + 0.1 * torch.randn(8, 16, 6)
    model = make_fitted(params, layout, rng).train()
    before = [weight.clone() for weight in model.parameters()]
    threads = torch.get_num_threads()
    assert find_threads(model, obs, action, draws=2, cores=2) in (1, 2)
    assert torch.get_num_threads() == threads
    assert all(map(torch.equal, before, model.parameters()))
    assert all(weight.grad is None for weight in model.parameters())


def test_a_timed_step_computes_no_features(
    params: Params, layout: Layout, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[int] = []
    forward = ObservationFeatures.forward

    def count(self: ObservationFeatures, obs: torch.Tensor) -> torch.Tensor:
        counted.append(len(obs))
        return forward(self, obs)

    monkeypatch.setattr(ObservationFeatures, "forward", count)
    obs = torch.from_numpy(random_states(rng, layout, 8, 2))
    model = make_fitted(params, layout, rng).train()
    counted.clear()
    find_threads(model, obs, obs[:, -1:, :6].expand(8, 16, 6), draws=2, cores=2)
    assert len(counted) == 1


def test_a_number_once_found_stays_for_its_subject(tmp_path: Path) -> None:
    numbers = iter([2, 1, 3])
    folder = tmp_path / "a" / "threads"
    assert remembered_threads(folder, "mlp", lambda: next(numbers)) == 2
    assert remembered_threads(folder, "mlp", lambda: next(numbers)) == 2
    assert remembered_threads(folder, "unet", lambda: next(numbers)) == 1
    next(file for file in folder.iterdir() if "mlp" in file.read_text()).write_text("{broken")
    assert remembered_threads(folder, "mlp", lambda: next(numbers)) == 3


def test_a_place_that_cannot_be_written_to_costs_the_memory_only(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert remembered_threads(tmp_path / "file" / "threads", "mlp", lambda: 2) == 2


def test_workers_of_one_machine_share_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = usable_cores()
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(2 * alone))
    assert usable_cores() == 1

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.training import distributed
from pipeline.training.distributed import (
    ALONE,
    WorkerError,
    Workers,
    launch,
    torchrun_size,
    worker_device,
)


@given(number=st.integers(0, 300), size=st.integers(1, 9))
def test_parts_are_all_rows_each_once_and_even(number: int, size: int) -> None:
    rows = [list(range(number))[Workers(rank, size).part(number)] for rank in range(size)]
    assert [row for part in rows for row in part] == list(range(number))
    lengths = [len(part) for part in rows]
    assert max(lengths) - min(lengths) <= 1


def test_without_torchrun_a_process_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert torchrun_size() == 1
    assert ALONE.leads
    assert ALONE.share({"a": 1}) == {"a": 1}
    assert worker_device(torch.device("cuda")) == torch.device("cuda")


def test_each_worker_of_a_machine_takes_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("TORCHELASTIC_RUN_ID", "x"), ("WORLD_SIZE", "4"), ("LOCAL_RANK", "3")):
        monkeypatch.setenv(name, value)
    assert worker_device(torch.device("cuda")) == torch.device("cuda", 3)
    assert worker_device(torch.device("cpu")) == torch.device("cpu")


def test_one_worker_a_gpu_needs_a_gpu() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has one")
    with pytest.raises(WorkerError, match=r"train.devices 0 .* torch sees none"):
        launch(0, ["train"])


def test_a_lost_worker_is_told_in_a_sentence() -> None:
    said = RuntimeError("[/src/gloo/pair.cc:553] Connection closed by peer [::1]:10. See the logs.")
    assert distributed._reason(said) == "Connection closed by peer [::1]:10"
    assert distributed._reason(RuntimeError("NCCL timed out")) == "NCCL timed out"

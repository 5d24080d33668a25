from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.training.distributed import (
    SINGLE_PROCESS,
    WorkerError,
    Workers,
    launch,
    torchrun_size,
    worker_device,
)
from tests.fixtures.ports import reserved_port

REPOSITORY = Path(__file__).parents[2]


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
    assert SINGLE_PROCESS.is_main
    assert SINGLE_PROCESS.broadcast({"a": 1}) == {"a": 1}
    assert SINGLE_PROCESS.least(5) == 5
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


LOSING = """
import os
import torch
from pipeline.training.distributed import WorkerError, joined_workers

with joined_workers(torch.device("cpu")) as workers:
    weight = torch.ones(3, requires_grad=True)
    weight.sum().backward()
    workers.sum_gradients([weight], torch.zeros(()))
    print(weight.grad.tolist(), workers.least(256 >> workers.rank), flush=True)
    if workers.rank == 1:
        os._exit(9)
    try:
        workers.sum_gradients([weight], torch.zeros(()))
    except WorkerError as error:
        print(error, flush=True)
        os._exit(0)
"""


def test_two_processes_sum_their_gradients_and_a_lost_one_is_told_in_a_sentence() -> None:
    joined = os.environ | {
        "PYTHONPATH": str(REPOSITORY), "TORCHELASTIC_RUN_ID": "test", "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
    }  # fmt: skip
    with reserved_port() as port:
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", LOSING], stdout=subprocess.PIPE, text=True,
                env=joined | {"MASTER_PORT": str(port), "RANK": rank, "LOCAL_RANK": rank},
            )
            for rank in ("0", "1")
        ]  # fmt: skip
        first, second = (process.communicate()[0].splitlines() for process in processes)
    assert [process.returncode for process in processes] == [0, 9]
    # Each also learns the smaller of both batches.
    assert second == ["[2.0, 2.0, 2.0] 128"]
    assert first[0] == "[2.0, 2.0, 2.0] 128"
    (sentence,) = first[1:]
    assert sentence.startswith("a worker is gone (")
    assert "[/" not in sentence and ". " not in sentence

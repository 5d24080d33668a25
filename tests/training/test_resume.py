from __future__ import annotations

import os
import resource
import signal
from pathlib import Path

import pytest
import torch

from pipeline import hashing
from pipeline.policy.checkpoint import CheckpointError
from pipeline.training.resume import StateStore, StopSignal, state_key


def test_a_state_comes_back_with_its_checkpoints(tmp_path: Path) -> None:
    checkpoint = tmp_path / "best_model.pt"
    checkpoint.write_bytes(b"weights")
    with StateStore(tmp_path, "a") as store:
        assert store.load() is None
        store.save({"step": 3, "x": torch.arange(3)}, {"best_epoch_1.pt": checkpoint})
    checkpoint.unlink()
    with StateStore(tmp_path, "a") as store:
        state = store.load()
        assert state is not None
        assert state["step"] == 3
        store.restore("best_epoch_1.pt", checkpoint)
        assert checkpoint.read_bytes() == b"weights"
        store.save({"step": 4}, {})
        assert not (store.folder / "best_epoch_1.pt").exists()
        store.remove()
    assert not (tmp_path / "a").exists()


def test_a_checkpoint_that_is_replaced_leaves_the_kept_one_alone(tmp_path: Path) -> None:
    checkpoint = tmp_path / "best_model.pt"
    checkpoint.write_bytes(b"old")
    with StateStore(tmp_path, "a") as store:
        store.save({}, {"best_epoch_1.pt": checkpoint})
        new = tmp_path / "new"
        new.write_bytes(b"new")
        new.replace(checkpoint)
        assert (store.folder / "best_epoch_1.pt").read_bytes() == b"old"


def test_a_second_process_of_the_same_training_keeps_its_hands_off(tmp_path: Path) -> None:
    with StateStore(tmp_path, "a") as first:
        first.save({"step": 1}, {})
        with StateStore(tmp_path, "a") as second:
            assert not second.owned
            assert second.load() is None
            second.save({"step": 9}, {})
            second.remove()
        state = first.load()
        assert state is not None
        assert state["step"] == 1


def test_another_key_is_another_training() -> None:
    keys = {state_key(*parts) for parts in ([1], [2], [1, 2], ["1"])}
    assert len(keys) == 4
    assert state_key({"a": 1, "b": 2}) == state_key({"b": 2, "a": 1})


def test_code_is_part_of_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = state_key(1)
    monkeypatch.setattr(hashing, "sha256_file", lambda path: "another")
    assert state_key(1) != before


def test_states_of_unfinished_trainings_are_bounded(tmp_path: Path) -> None:
    for number in range(6):
        with StateStore(tmp_path, f"k{number}") as store:
            store.save({"step": number}, {})
        os.utime(store.folder, (number, number))
    with StateStore(tmp_path, "new") as store:
        store.save({}, {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["k3", "k4", "k5", "new"]


def test_a_disk_that_is_full_leaves_the_last_state_whole(tmp_path: Path) -> None:
    with StateStore(tmp_path, "a") as store:
        store.save({"step": 1}, {})
        # Really full: what is written beside goes to a device that has no space.
        (store.folder / ".state.pt.partial").symlink_to("/dev/full")
        with pytest.raises(CheckpointError, match="No space left on device"):
            store.save({"step": 2, "x": torch.zeros(100_000)}, {})
        assert not (store.folder / ".state.pt.partial").is_symlink()
        state = store.load()
        assert state is not None
        assert state["step"] == 1
        store.save({"step": 3}, {})
        state = store.load()
        assert state is not None
        assert state["step"] == 3


def test_a_file_that_may_not_grow_leaves_the_last_state_whole(tmp_path: Path) -> None:
    with StateStore(tmp_path, "a") as store:
        store.save({"step": 1}, {})
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
        try:
            with pytest.raises(CheckpointError, match="File too large"):
                store.save({"step": 2, "x": torch.zeros(100_000)}, {})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        state = store.load()
        assert state is not None
        assert state["step"] == 1


def test_a_state_of_other_bytes_is_refused_by_name(tmp_path: Path) -> None:
    with StateStore(tmp_path, "a") as store:
        (store.folder / "state.pt").write_bytes(b"no state")
        with pytest.raises(CheckpointError, match="train from the beginning"):
            store.load()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_the_first_signal_is_remembered_and_the_second_ends(number: int, status: int) -> None:
    with StopSignal() as stop:
        assert stop.number == 0
        os.kill(os.getpid(), number)
        assert stop.number == number
        assert stop.status == status
        assert stop.name == signal.Signals(number).name
        with pytest.raises(SystemExit) as ended:
            os.kill(os.getpid(), number)
            signal.getsignal(number)
        assert ended.value.code == status


def test_signals_are_given_back() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with StopSignal():
        assert signal.getsignal(signal.SIGTERM) != before[0]
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before

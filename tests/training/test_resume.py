from __future__ import annotations

import errno
import fcntl
import os
import re
import resource
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline import hashing
from pipeline.policy.checkpoint import CheckpointError
from pipeline.training.logging import Record
from pipeline.training.resume import Progress, StateStore, StopSignal, state_key
from pipeline.training.selection import Epoch, Score


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


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
        store.save({"step": 5}, {"best_epoch_1.pt": checkpoint})
        assert (store.folder / "best_epoch_1.pt").read_bytes() == b"weights"
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
        store.save({}, {"best_epoch_1.pt": checkpoint})  # the same name, so the same content
        assert (store.folder / "best_epoch_1.pt").read_bytes() == b"old"
    with StateStore(tmp_path, "a") as store:
        store.restore("best_epoch_1.pt", checkpoint)
        checkpoint.unlink()
        store.save({}, {"best_epoch_1.pt": checkpoint})
        assert (store.folder / "best_epoch_1.pt").read_bytes() == b"old"


def test_a_checkpoint_that_is_missing_is_named_and_leaves_the_last_state(tmp_path: Path) -> None:
    with StateStore(tmp_path, "a") as store:
        store.save({"step": 1}, {})
        with pytest.raises(CheckpointError, match=r"a: cannot be written \(.*gone\.pt"):
            store.save({"step": 2}, {"best_epoch_1.pt": tmp_path / "gone.pt"})
        assert store.load() == {"step": 1}


def test_checkpoints_are_copied_where_they_cannot_be_linked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, "another disk")

    monkeypatch.setattr(Path, "hardlink_to", fail)
    checkpoint = tmp_path / "best_model.pt"
    checkpoint.write_bytes(b"weights")
    with StateStore(tmp_path, "a") as store:
        store.save({}, {"best_epoch_1.pt": checkpoint})
        checkpoint.write_bytes(b"later")
        store.restore("best_epoch_1.pt", checkpoint)
    assert checkpoint.read_bytes() == b"weights"


def test_the_position_of_a_training_survives_a_round_trip(tmp_path: Path) -> None:
    record = Record(Epoch(1, 0.5, 0.4, 1e-3, Score(0.5, 4.0, 80), 100.0), [0.6, 0.4], 70, 0.1)
    made = Progress(
        7, np.float32([0.5, 0.25]), {"order": torch.arange(3)}, 1.5, [record], {"a": "b"}, 9.0
    )
    with StateStore(tmp_path, "a") as store:
        store.save(made.to_dict(), {})
        found = Progress.from_dict(store.load() or {})
    assert found.losses.tolist() == [0.5, 0.25]
    assert found.prefetcher.keys() == {"order"}
    assert found.prefetcher["order"].tolist() == [0, 1, 2]
    for name in ("step", "epoch_s", "records", "files", "seconds"):
        assert getattr(found, name) == getattr(made, name)


def test_a_second_process_of_the_same_training_keeps_its_hands_off(tmp_path: Path) -> None:
    with StateStore(tmp_path, "a") as first:
        first.save({"step": 1}, {})
        with StateStore(tmp_path, "a") as second:
            assert second.owned is False
            assert second.load() is None
            second.save({"step": 9}, {})
            second.remove()
        state = first.load()
        assert state is not None
        assert state["step"] == 1
    first.save({"step": 9}, {})  # it has given the lock back
    with StateStore(tmp_path, "a") as store:
        assert store.load() == {"step": 1}


def test_folders_are_made_and_may_be_cleaned_away_meanwhile(tmp_path: Path) -> None:
    with StateStore(tmp_path / ".state/train", "a") as store:
        assert store.owned
        shutil.rmtree(tmp_path / ".state")  # as `make clean` does
    assert not (tmp_path / ".state").exists()


def test_another_key_is_another_training() -> None:
    keys = {state_key(*parts) for parts in ([1], [2], [1, 2], ["1"])}
    assert len(keys) == 4
    assert all(re.fullmatch("[0-9a-f]{16}", key) for key in keys)
    assert state_key({"a": 1, "b": 2}) == state_key({"b": 2, "a": 1})


def test_code_is_part_of_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = state_key(1)
    monkeypatch.setattr(hashing, "sha256_file", lambda path: "another")
    assert state_key(1) != before


def test_states_of_unfinished_trainings_are_bounded(tmp_path: Path) -> None:
    for number in range(6):
        with StateStore(tmp_path, f"k{number}") as store:
            store.save({"step": number}, {})
        os.utime(store.folder, (9 - number, 9 - number))
    with StateStore(tmp_path, "k0"):  # it is used again, so the newest
        pass
    with StateStore(tmp_path, "new") as store:
        store.save({}, {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["k0", "k1", "k2", "new"]


def test_the_state_of_a_training_that_runs_stays_and_older_ones_go(tmp_path: Path) -> None:
    with ExitStack() as stack:
        for age, name in enumerate(("k0", "k1", "k2", "running", "old")):
            store = stack.enter_context(StateStore(tmp_path, name))
            store.save({"step": age}, {})
            os.utime(store.folder, (20 - age, 20 - age))
            if name != "running":
                store.__exit__(None, None, None)
        with StateStore(tmp_path, "new") as store:
            store.save({}, {})
        kept = ["k0", "k1", "k2", "new", "running"]
        assert sorted(path.name for path in tmp_path.iterdir()) == kept


def test_an_old_state_that_cannot_be_removed_does_not_stop_a_training(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "states").mkdir()
    os.utime(tmp_path / "disk", (1, 1))
    (tmp_path / "states/moved").symlink_to(tmp_path / "disk")  # rmtree refuses links
    for number in range(4):
        with StateStore(tmp_path / "states", f"k{number}") as store:
            store.save({"step": number}, {})
    assert (tmp_path / "states/moved").is_symlink()
    assert (tmp_path / "states/k3/state.pt").exists()


def test_other_trainings_may_remove_old_states_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in map(str, range(6)):
        (tmp_path / name).mkdir()
    (tmp_path / "gone").symlink_to("nowhere")
    (tmp_path / ".gitignore").touch()
    rmtree = shutil.rmtree

    def together(_: Path, **how: bool) -> None:
        for folder in map(str, range(6)):
            rmtree(tmp_path / folder, **how)

    monkeypatch.setattr(shutil, "rmtree", together)
    with StateStore(tmp_path, "a") as store:
        assert store.owned
        assert {path.name for path in tmp_path.iterdir()} == {"a", "gone", ".gitignore"}


@pytest.mark.parametrize("moment", ["flock", "utime"])
def test_a_folder_that_another_process_just_removed_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    module = fcntl if moment == "flock" else os
    now = getattr(module, moment)

    def later(*arguments: object) -> object:
        monkeypatch.setattr(module, moment, now)
        shutil.rmtree(tmp_path / "a")
        (tmp_path / "a").mkdir()
        (tmp_path / "a/lock").touch()
        return now(*arguments)

    monkeypatch.setattr(module, moment, later)
    with StateStore(tmp_path, "a") as store, StateStore(tmp_path, "a") as other:
        assert (store.owned, other.owned) == (True, False)


def test_a_state_from_a_gpu_is_read_into_main_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with StateStore(tmp_path, "a") as store:
        with monkeypatch.context() as patch:  # the file then says what one from a GPU says
            patch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
            store.save({"x": torch.arange(3)}, {})
        state = store.load()
    assert state is not None
    assert state["x"].device.type == "cpu"
    assert state["x"].tolist() == [0, 1, 2]


@pytest.mark.filterwarnings("ignore:Environment variable TORCH_FORCE")
def test_a_state_that_would_run_code_is_refused_whatever_torch_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    with StateStore(tmp_path, "a") as store:
        torch.save({"step": Bomb(tmp_path / "owned")}, store.folder / "state.pt")
        with pytest.raises(CheckpointError, match="not a state of training"):
            store.load()
    assert not (tmp_path / "owned").exists()


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


def test_a_thread_that_cannot_install_handlers_runs_without_them() -> None:
    before = signal.getsignal(signal.SIGTERM)

    def number() -> int:
        with StopSignal() as stop:
            assert signal.getsignal(signal.SIGTERM) == before
        return stop.number

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(number).result() == 0

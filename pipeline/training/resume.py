"""Save the state of a running training, and stop a training between two steps on a signal.

States lie outside DVC's outputs: DVC removes outputs before it runs a stage again, and a state that
it kept would make every run of a sweep resume from the baseline.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import signal
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.hashing import code_hash
from pipeline.policy.checkpoint import CheckpointError, write_whole
from pipeline.training.logging import Record

STATE = "state.pt"
LOCK = "lock"
KEPT = 3
"""States of other, unfinished trainings that stay on disk; older ones are removed."""


@dataclass
class Progress:
    """The position of a training between two steps; the trainer holds weights and optimiser."""

    step: int = 0
    """Steps done."""
    losses: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    """Losses of this epoch's steps."""
    prefetcher: dict[str, Tensor] = field(default_factory=dict)
    """Generator states from which this epoch's batches are drawn again."""
    epoch_s: float = 0.0
    """Time spent in this epoch, s."""
    records: list[Record] = field(default_factory=list)
    """Epochs that are done."""
    files: dict[str, str] = field(default_factory=dict)
    """Checkpoints in the output folder, and the names under which the store keeps them."""
    seconds: float = 0.0
    """Time spent in training, s."""

    def to_dict(self) -> dict[str, Any]:
        """Tensors, numbers, lists and dictionaries."""
        return {
            **vars(self),
            "losses": torch.from_numpy(self.losses),
            "records": [record.to_dict() for record in self.records],
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Progress:
        """The inverse of `to_dict`.

        Args:
            data: what it returned.
        """
        records = [Record.from_dict(record) for record in data["records"]]
        return cls(**{**data, "losses": data["losses"].numpy(), "records": records})


def state_key(*parts: object) -> str:
    """Name of a training; equal only for runs that must end with the same weights.

    Args:
        parts: everything that decides the result, as JSON values.
    """
    text = json.dumps([code_hash(), torch.__version__, *parts], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class StateStore:
    """The saved state of one training, and the checkpoints that it had written by then.

    A state is written beside its place, flushed to the disk and renamed. One process at a time owns
    a store. The lock ends with the process.

    Example:
        with StateStore(state_root("train"), key) as store:
            state = store.load()
            …
            store.save(state, {"best_epoch_3.pt": out / "best_model.pt"})
            store.remove()
    """

    def __init__(self, root: Path, key: str) -> None:
        """Set the folder; nothing is read or written yet.

        Args:
            root: folder of all states of the stage.
            key: name of this training.
        """
        self.folder = root / key
        self.owned = False
        """Whether this process may read and write; False while another one does."""
        self._lock: IO[bytes] | None = None
        self._kept: set[str] = set()

    def __enter__(self) -> StateStore:
        """Take the lock, if it is free."""
        while not self._enter():
            pass
        if self.owned:
            self._remove_oldest()
        return self

    def _enter(self) -> bool:
        """Try to take the lock; False if another process removed the folder meanwhile."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack, contextlib.suppress(FileNotFoundError):
            lock = stack.enter_context((self.folder / LOCK).open("ab"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return True
            os.utime(self.folder)
            if os.path.samestat(os.fstat(lock.fileno()), (self.folder / LOCK).stat()):
                stack.pop_all()
                self._lock, self.owned = lock, True
        return self.owned

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Release the lock and keep the state; remove a folder without one."""
        if self._lock is None:
            return
        if not (self.folder / STATE).exists():
            shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.close()
        self._lock, self.owned = None, False

    def load(self) -> dict[str, Any] | None:
        """The last saved state, None where there is none.

        Raises:
            CheckpointError: the file cannot be read.
        """
        path = self.folder / STATE
        if not self.owned or not path.is_file():
            return None
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # other bytes raise errors of many kinds
            raise CheckpointError(
                f"{path}: not a state of training that can be read ({error}); remove "
                f"{self.folder} to train from the beginning"
            ) from error
        return dict(state)

    def restore(self, name: str, path: Path) -> None:
        """Put a kept checkpoint back.

        Args:
            name: the name under which `save` kept it.
            path: where it goes.
        """
        _link(self.folder / name, path)
        self._kept.add(name)

    def save(self, state: dict[str, Any], files: Mapping[str, Path]) -> None:
        """Replace the state.

        Args:
            state: tensors, numbers, texts, and lists and dictionaries of them.
            files: checkpoints that belong to it, by the name they are kept as; a name always means
                the same content, so kept ones are not copied again. Others are removed.

        Raises:
            CheckpointError: it cannot be written; the earlier state is unchanged.
        """
        if not self.owned:
            return
        try:
            for name in files.keys() - self._kept:
                _link(files[name], self.folder / name)
                self._kept.add(name)
        except OSError as error:
            raise CheckpointError(f"{self.folder}: cannot be written ({error})") from error
        write_whole(self.folder / STATE, state)
        for path in self.folder.iterdir():
            if path.name not in {STATE, LOCK, *files}:
                path.unlink()
                self._kept.discard(path.name)

    def remove(self) -> None:
        """Remove the state of a finished training."""
        if self.owned:
            for path in self.folder.iterdir():
                if path.name != LOCK:
                    path.unlink()

    def _remove_oldest(self) -> None:
        ages = []
        # Other trainings may remove the same folders.
        for path in self.folder.parent.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if path != self.folder and path.is_dir():
                    ages.append((path.stat().st_mtime, path))
        for _, path in sorted(ages, reverse=True)[KEPT:]:
            with contextlib.suppress(FileNotFoundError), (path / LOCK).open("ab") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    continue
                shutil.rmtree(path, ignore_errors=True)


def _link(source: Path, target: Path) -> None:
    """Hard-link a file, or copy it to another disk."""
    partial = target.with_name(f".{target.name}.partial")
    partial.unlink(missing_ok=True)
    try:
        partial.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, partial)
    partial.replace(target)


class StopSignal:
    """Notes SIGTERM and Ctrl-C instead of ending at once; a second signal ends the process.

    Example:
        with StopSignal() as stop:
            while not stop.number:
                …
    """

    SIGNALS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self) -> None:
        """Start without a signal."""
        self.number = 0
        """Number of the received signal; 0 before."""
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopSignal:
        """Install the handlers; only the main thread can."""
        if threading.current_thread() is threading.main_thread():
            self._previous = {name: signal.signal(name, self._ask) for name in self.SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Restore the earlier handlers."""
        for name, handler in self._previous.items():
            signal.signal(name, handler)

    @property
    def status(self) -> int:
        """Exit status of a process that a signal ended, as shells count: 143 or 130."""
        return 128 + self.number

    @property
    def name(self) -> str:
        """Name of the received signal."""
        return signal.Signals(self.number).name

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.number:
            raise SystemExit(self.status)
        self.number = number

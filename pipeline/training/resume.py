"""What an interrupted training needs to go on, kept on disk while it runs.

Owns a folder outside DVC's outputs: DVC removes those before it runs a stage again, and a state
that it kept would make every run of a sweep resume from the baseline. Knows no networks.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import torch

from pipeline.hashing import code_hash
from pipeline.policy.checkpoint import BundleError, write_whole

STATE = "state.pt"
LOCK = "lock"
KEPT = 3
"""States of other, unfinished trainings that stay on disk; older ones are removed."""


def state_key(*parts: object) -> str:
    """Name of a training: equal exactly where another run must end with the same weights.

    Args:
        parts: whatever decides the result, as JSON knows it.
    """
    text = json.dumps([code_hash(), torch.__version__, *parts], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class StateStore:
    """The saved state of one training, and the checkpoints that it had written by then.

    A state is written beside its place, flushed to the disk and renamed. One process at a time owns
    a store: the lock goes with the process, however it ends.

    Example:
        with StateStore(state_root("train"), key) as store:
            state = store.load()
            …
            store.save(state, {"best_epoch_3.pt": out / "best_model.pt"})
            store.remove()
    """

    def __init__(self, root: Path, key: str) -> None:
        """Name the store; nothing is touched yet.

        Args:
            root: folder of all states of the stage.
            key: name of this training.
        """
        self.folder = root / key
        self.owned = False
        """Whether this process may read and write; False where another one does."""
        self._lock: IO[bytes] | None = None
        self._kept: set[str] = set()

    def __enter__(self) -> StateStore:
        """Take the lock, if it is free."""
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = (self.folder / LOCK).open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            return self
        self._lock, self.owned = lock, True
        os.utime(self.folder)
        self._remove_oldest()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Release the lock; the state stays. A folder that holds none goes."""
        if self._lock is None:
            return
        if not (self.folder / STATE).exists():
            shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.close()
        self._lock, self.owned = None, False

    def load(self) -> dict[str, Any] | None:
        """The last state that was saved whole, None where there is none.

        Raises:
            BundleError: the file cannot be read.
        """
        path = self.folder / STATE
        if not self.owned or not path.is_file():
            return None
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # bytes of any other kind raise whatever they run into
            raise BundleError(
                f"{path}: not a state of training that can be read ({error}); remove "
                f"{self.folder} to train from the beginning"
            ) from error
        return dict(state)

    def restore(self, name: str, path: Path) -> None:
        """Put a kept checkpoint back.

        Args:
            name: what `save` kept it as.
            path: where it goes.
        """
        _link(self.folder / name, path)
        self._kept.add(name)

    def save(self, state: dict[str, Any], files: Mapping[str, Path]) -> None:
        """Replace the state.

        Args:
            state: tensors, numbers, texts, and lists and dictionaries of them.
            files: checkpoints that belong to it, by the name they are kept as; a name always means
                the same content, so that one that is kept already is not touched. Others go.

        Raises:
            BundleError: it cannot be written; the state of before is whole.
        """
        if not self.owned:
            return
        try:
            for name in files.keys() - self._kept:
                _link(files[name], self.folder / name)
                self._kept.add(name)
        except OSError as error:
            raise BundleError(f"{self.folder}: cannot be written ({error})") from error
        write_whole(self.folder / STATE, state)
        for path in self.folder.iterdir():
            if path.name not in {STATE, LOCK, *files}:
                path.unlink(missing_ok=True)
                self._kept.discard(path.name)

    def remove(self) -> None:
        """Forget everything: the training is done."""
        if self.owned:
            for path in self.folder.iterdir():
                if path.name != LOCK:
                    path.unlink(missing_ok=True)

    def _remove_oldest(self) -> None:
        others = [path for path in self.folder.parent.iterdir() if path != self.folder]
        others.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        for path in others[KEPT:]:
            with (path / LOCK).open("ab") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    continue
                shutil.rmtree(path, ignore_errors=True)


def _link(source: Path, target: Path) -> None:
    """The same file at another place: free where both lie on one disk, else a copy."""
    partial = target.with_name(f".{target.name}.partial")
    partial.unlink(missing_ok=True)
    try:
        partial.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, partial)
    partial.replace(target)

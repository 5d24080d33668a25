"""Trains in child processes that stop before a given step and are really ended there.

Usage: train_driver.py MODE PARAMS DATA FOLDER, see the functions at the end. One process forks all
trainings, so that imports are paid for once.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import traceback
from functools import partial
from pathlib import Path

import torch

from pipeline.errors import PipelineError
from pipeline.params import Params, load_params
from pipeline.stages import train
from pipeline.training import loop
from pipeline.training.trainer import Prepared, Trainer
from tests.fixtures.ports import reserved_port

CHILDREN: set[int] = set()
"""Trainings that have not been waited for."""


def start(
    params: Params, data: Path, out: Path, root: Path, stop: str = "", **environment: str
) -> int:
    """Start a training in a child process.

    It exits with 1 after an expected error, with 2 after any other.

    Args:
        params: of the training.
        data: its data set.
        out: its folder; what it prints goes to a file beside it.
        root: where it keeps its state.
        stop: where it stops and waits: "save", see `stop_in_save`, or a share of all steps, see
            `stop_before_step`; empty for nowhere.
        environment: variables of the child alone.
    """
    child = os.fork()
    if child:
        CHILDREN.add(child)
        return child
    out.parent.mkdir(parents=True, exist_ok=True)
    os.environ |= {"DVC_ROOT": str(root), **environment}
    if stop == "save":
        stop_in_save()
    elif stop:
        stop_before_step(float(stop))
    name = f"{out.name}.{environment.get('RANK', '0')}.log"
    with out.with_name(name).open("a", buffering=1) as log:
        os.dup2(log.fileno(), 1)
        status = 2
        try:
            train.run(params, out, data)
            status = 0
        except PipelineError as error:
            log.write(f"error: {error}\n")
            status = 1
        except SystemExit as ended:
            status = int(ended.code or 0)
        except BaseException:
            traceback.print_exc(file=log)
        finally:
            sys.stdout.flush()
            os._exit(status)


def stop_here() -> None:
    """Stop this process until its parent kills it or continues it."""
    os.kill(os.getpid(), signal.SIGSTOP)


def stop_before_step(share: float) -> None:
    """Save a state after every step, and stop when a given share of all steps is done.

    Args:
        share: from 0, less than 1.
    """
    take_step = Trainer.step

    def step(self: Trainer, index: int, batch: Prepared) -> torch.Tensor:
        if index == int(share * self.num_steps):
            stop_here()
        return take_step(self, index, batch)

    Trainer.step = step  # type: ignore[method-assign]
    loop.SAVING_SHARE = float("inf")


def stop_in_save() -> None:
    """Stop when the next state is written but has not replaced the last one yet."""
    flush = os.fsync

    def fsync(file: int) -> None:
        flush(file)
        if Path(f"/proc/self/fd/{file}").readlink().name == ".state.pt.partial":
            stop_here()

    os.fsync = fsync  # type: ignore[assignment]


def stopped(child: int) -> None:
    """Wait until a child has stopped."""
    _, status = os.waitpid(child, os.WUNTRACED)
    if not os.WIFSTOPPED(status):
        CHILDREN.discard(child)
        sys.exit(f"a training did not stop, but ended: {os.waitstatus_to_exitcode(status)}")


def ended(child: int) -> int:
    """Wait until a child has ended; its exit status, negative for the signal that killed it."""
    _, status = os.waitpid(child, 0)
    CHILDREN.discard(child)
    return os.waitstatus_to_exitcode(status)


ENDS = (
    ("0", signal.SIGKILL),
    ("0.3", signal.SIGKILL),
    ("0.5", signal.SIGTERM),
    ("0.7", signal.SIGINT),
    ("save", signal.SIGKILL),
    ("0.9", signal.SIGKILL),
)
"""Where a training stops and which signal it gets there. At 0 no state is saved yet."""


def ends(params: Params, data: Path, folder: Path) -> dict[str, object]:
    """Train undisturbed, and once more with interruptions; outputs are removed after each."""
    statuses = [ended(start(params, data, folder / "calm", folder / "root_calm"))]
    out = folder / "ended"
    disturbed = partial(start, params, data, out, folder / "root_ended")
    for stop, name in ENDS:
        child = disturbed(stop)
        stopped(child)
        os.kill(child, name)
        os.kill(child, signal.SIGCONT)
        statuses.append(ended(child))
        shutil.rmtree(out)
    return {"statuses": [*statuses, ended(disturbed())]}


def workers(params: Params, data: Path, folder: Path) -> dict[str, object]:
    """Train alone and with two workers; then kill one of two, and go on with one."""
    one, two, lost = (
        partial(start, params, data, folder / name, folder / f"root_{name}")
        for name in ("one", "two", "lost")
    )
    statuses = [ended(one())]
    with reserved_port() as port:
        pair = [two(**worker(rank, port)) for rank in (0, 1)]
        statuses += [ended(child) for child in pair]
    with reserved_port() as port:
        leader, other = lost(**worker(0, port)), lost("0.4", **worker(1, port))
        stopped(other)
        os.kill(other, signal.SIGKILL)
        found = [ended(leader), ended(other)]
    shutil.rmtree(folder / "lost")
    statuses.append(ended(lost()))
    return {"statuses": statuses, "lost": found}


def worker(rank: int, port: int) -> dict[str, str]:
    """What torchrun tells one of two workers."""
    return {
        "TORCHELASTIC_RUN_ID": "test", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2",
    }  # fmt: skip


if __name__ == "__main__":
    mode, parameters, source, target = sys.argv[1:]
    modes = {"ends": ends, "workers": workers}
    try:
        print(json.dumps(modes[mode](load_params(Path(parameters)), Path(source), Path(target))))
    finally:
        for left in CHILDREN:
            os.kill(left, signal.SIGKILL)

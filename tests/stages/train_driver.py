"""Runs trainings in child processes that can really be killed; imports are paid for once.

Usage: train_driver.py MODE PARAMS DATA FOLDER SEED, see the functions at the end.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.params import Params, load_params
from pipeline.stages import train


def start(
    params: Params, data: Path, out: Path, root: Path, rank: int = 0, size: int = 1, port: int = 0
) -> int:
    """A training in a child process; its exit status is 1 where it raises an expected error."""
    child = os.fork()
    if child:
        return child
    out.parent.mkdir(parents=True, exist_ok=True)
    os.environ["DVC_ROOT"] = str(root)
    if size > 1:
        os.environ |= {
            "TORCHELASTIC_RUN_ID": "test", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
            "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size),
        }  # fmt: skip
    with out.with_name(f"{out.name}.{rank}.log").open("a", buffering=1) as log:
        os.dup2(log.fileno(), 1)
        status = 0
        try:
            train.run(params, out, data)
        except PipelineError as error:
            log.write(f"error: {error}\n")
            status = 1
        except SystemExit as ended:
            status = int(ended.code or 0)
        finally:
            sys.stdout.flush()
            os._exit(status)


def ended(child: int) -> int:
    """Wait for it; its exit status, negative for the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def until(there: Callable[[], bool], seconds: float = 30) -> None:
    """Wait for something to come true."""
    deadline = time.monotonic() + seconds
    while not there():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.01)


def state_of(root: Path) -> list[Path]:
    return list(root.glob(".state/train/*/state.pt"))


def saved_after(root: Path, began: float) -> bool:
    return any(path.stat().st_mtime > began for path in state_of(root))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGKILL)


def ends(params: Params, data: Path, folder: Path, chance: random.Random) -> dict[str, object]:
    """One undisturbed training, and one that is ended again and again, its outputs removed."""
    statuses = [ended(start(params, data, folder / "calm", folder / "root_calm"))]
    out, root = folder / "ended", folder / "root_ended"
    for number, name in enumerate(SIGNALS):
        began = time.time()
        child = start(params, data, out, root)
        if number:  # the first one dies in its preparations, the others between any two steps
            until(partial(saved_after, root, began))
        time.sleep(chance.uniform(0.0, 0.4))
        os.kill(child, name)
        statuses.append(ended(child))
        shutil.rmtree(out, ignore_errors=True)
    return {"statuses": [*statuses, ended(start(params, data, out, root))]}


def workers(params: Params, data: Path, folder: Path, chance: random.Random) -> dict[str, object]:
    """The same in two workers; then one of two is lost, and one process goes on."""
    statuses = [ended(start(params, data, folder / "one", folder / "root_one"))]
    port = free_port()
    pair = [
        start(params, data, folder / "two", folder / "root_two", rank, 2, port) for rank in (0, 1)
    ]
    statuses += [ended(child) for child in pair]
    out, root, port = folder / "lost", folder / "root_lost", free_port()
    leader, other = (start(params, data, out, root, rank, 2, port) for rank in (0, 1))
    until(lambda: bool(state_of(root)))
    time.sleep(chance.uniform(0.0, 0.5))
    os.kill(other, signal.SIGKILL)
    lost = [ended(leader), ended(other)]
    shutil.rmtree(out)
    statuses.append(ended(start(params, data, out, root)))
    return {"statuses": statuses, "lost": lost}


if __name__ == "__main__":
    mode, parameters, source, target, seed = sys.argv[1:]
    modes = {"ends": ends, "workers": workers}
    found = modes[mode](
        load_params(Path(parameters)), Path(source), Path(target), random.Random(int(seed))
    )
    print(json.dumps(found))

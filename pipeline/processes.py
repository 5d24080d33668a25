"""Runs shards of work, each in a process of its own, and yields the results in order.

Each shard gets a new process because OMPL can be seeded only once per process. So the results do
not depend on the number of workers.
"""

from __future__ import annotations

import itertools
import multiprocessing
import signal
import traceback
from collections.abc import Callable, Generator
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar, cast

from pipeline.errors import PipelineError
from pipeline.machine import available_cores

Result = TypeVar("Result")


class WorkerError(PipelineError):
    """A worker process ended without a result."""


def in_processes(
    work: Callable[[int], Result], workers: int, preload: list[str]
) -> Generator[Result, None, None]:
    """Yield work(0), work(1), … in order, without end; close the iterator to stop.

    Args:
        work: picklable function of the shard's number, called once in each process.
        workers: processes at a time; 0 takes one per core.
        preload: modules that every process needs; they are imported only once.

    Raises:
        PipelineError: what `work` raised.
        WorkerError: a process died, or `work` raised another kind of exception.
    """
    workers = workers or available_cores()
    # Not "fork", because the parent may have threads. A fork server has none and starts fast.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(preload)
    running: dict[Connection, tuple[int, BaseProcess]] = {}
    results: dict[int, Result] = {}
    started = 0
    try:
        for wanted in itertools.count():
            while wanted not in results:
                # Run only a few shards ahead, so that memory stays bounded.
                while len(running) < workers and started < wanted + 2 * workers:
                    ours, theirs = context.Pipe(duplex=False)
                    process = context.Process(
                        target=_shard, args=(theirs, work, started), daemon=True
                    )
                    process.start()
                    theirs.close()
                    running[ours] = started, process
                    started += 1
                for ready in wait(list(running)):
                    connection = cast(Connection, ready)
                    number, ended = running.pop(connection)
                    results[number] = _receive(connection, number, ended)
            yield results.pop(wanted)
    finally:
        for connection, (_, unwanted) in running.items():
            unwanted.terminate()
            unwanted.join()
            connection.close()


def _receive(connection: Connection, number: int, process: BaseProcess) -> Any:
    try:
        outcome = connection.recv()
    except EOFError:
        process.join()
        raise WorkerError(
            f"the worker of shard {number} died with exit code {process.exitcode}; a negative code "
            "is a signal (-9: killed, often because memory ran out): try fewer workers"
        ) from None
    finally:
        connection.close()
    process.join()
    if isinstance(outcome, PipelineError):
        raise outcome
    return outcome


def _shard(connection: Connection, work: Callable[[int], Result], number: int) -> None:
    # Ctrl-C reaches all processes, but only the parent shall report it. It ends the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        connection.send(work(number))
    except PipelineError as error:
        connection.send(error)
    except Exception:
        connection.send(WorkerError(f"shard {number} failed:\n{traceback.format_exc()}"))
    finally:
        connection.close()

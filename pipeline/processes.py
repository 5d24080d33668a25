"""Shards of work, each in a process of its own, results in order.

A fresh process a shard because OMPL can be seeded only once in each; so the results do not depend
on how many run at a time. Knows nothing of what the work is.
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
    """Yield work(0), work(1), … without end, in order; close the iterator to stop.

    Args:
        work: picklable; called once in each process with the shard's number.
        workers: processes at a time; 0 takes one per core.
        preload: modules that every process needs, imported once for all.

    Raises:
        PipelineError: what `work` raised.
        WorkerError: a process died, or `work` raised another exception.
    """
    workers = workers or available_cores()
    # Not "fork": the parent may have threads by now. A fork server has none and starts fast.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(preload)
    running: dict[Connection, tuple[int, BaseProcess]] = {}
    results: dict[int, Result] = {}
    started = 0
    try:
        for wanted in itertools.count():
            while wanted not in results:
                # Few shards ahead of the one wanted, so that memory stays bounded.
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
            f"worker of shard {number} died with exit code {process.exitcode}; a negative code is "
            "a signal (-9: killed, often for want of memory): try fewer workers"
        ) from None
    finally:
        connection.close()
    process.join()
    if isinstance(outcome, PipelineError):
        raise outcome
    return outcome


def _shard(connection: Connection, work: Callable[[int], Result], number: int) -> None:
    # Ctrl-C reaches the whole group: the parent ends its workers, they need not speak too.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        connection.send(work(number))
    except PipelineError as error:
        connection.send(error)
    except Exception:
        connection.send(WorkerError(f"shard {number} failed:\n{traceback.format_exc()}"))
    finally:
        connection.close()

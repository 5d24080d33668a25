"""Runs shards of work in processes of this machine or of a Ray cluster; yields results in order.

A shard can have a process of its own, because OMPL can be seeded only once per process. So the
results depend neither on the number of workers nor on where they run. Ray is an optional
dependency, imported only when it is needed.
"""

from __future__ import annotations

import importlib
import itertools
import multiprocessing
import signal
import traceback
from collections import deque
from collections.abc import Callable, Generator
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from typing import Any, Literal, TypeVar, cast

from pipeline.errors import PipelineError
from pipeline.machine import available_cores

Result = TypeVar("Result")


RETRIES = 3
"""How often Ray computes a shard again whose worker or machine was lost."""


class WorkerError(PipelineError):
    """A worker process ended without a result."""


class EngineError(PipelineError):
    """Ray was asked for but is not installed."""


def in_shards(
    work: Callable[[int], Result],
    engine: Literal["process", "ray"],
    workers: int,
    preload: list[str],
    *,
    fresh: bool,
) -> Generator[Result, None, None]:
    """Yield work(0), work(1), … in order, without end; close the iterator to stop.

    Args:
        work: picklable function of the shard's number.
        engine: process (on this machine) or ray (on a cluster).
        workers: processes of this machine at a time; 0 takes one per core. Ray takes what the
            cluster has.
        preload: modules that every process of this machine needs; they are imported only once.
        fresh: whether each shard needs a process in which no other has run. On this machine each
            has one in any case.

    Raises:
        PipelineError: what `work` raised.
        WorkerError: a process died, or `work` raised another kind of exception.
        EngineError: Ray is not installed.
    """
    return in_ray(work, fresh=fresh) if engine == "ray" else in_processes(work, workers, preload)


def in_processes(
    work: Callable[[int], Result], workers: int, preload: list[str], total: int | None = None
) -> Generator[Result, None, None]:
    """Yield work(0), work(1), … in order; close the iterator to stop.

    Args:
        work: picklable function of the shard's number, called once in each process.
        workers: processes at a time; 0 takes one per core.
        preload: modules that every process needs; they are imported only once.
        total: number of shards; None goes on without end.

    Raises:
        PipelineError: what `work` raised.
        WorkerError: a process died, or `work` raised another kind of exception.
    """
    workers = workers or available_cores()
    context = start_server(preload)
    running: dict[Connection, tuple[int, BaseProcess]] = {}
    results: dict[int, Result] = {}
    started = 0
    try:
        for wanted in itertools.count() if total is None else range(total):
            while wanted not in results:
                # Run only a few shards ahead, so that memory stays bounded.
                ahead = wanted + 2 * workers
                most = ahead if total is None else min(ahead, total)
                while len(running) < workers and started < most:
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


def start_server(preload: list[str]) -> ForkServerContext:
    """Start the server that forks processes, if none runs; it imports modules meanwhile.

    Args:
        preload: modules that every process needs; they are imported only once.
    """
    # Not "fork", because the parent may have threads. A fork server has none and starts fast.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(preload)
    forkserver.ensure_running()
    return context


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
    return _unwrap(outcome)


def _shard(connection: Connection, work: Callable[[int], Result], number: int) -> None:
    # Ctrl-C reaches all processes, but only the parent shall report it. It ends the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        connection.send(_outcome(work, number))
    finally:
        connection.close()


def in_ray(work: Callable[[int], Result], *, fresh: bool) -> Generator[Result, None, None]:
    """Yield work(0), work(1), … in order, computed by Ray's workers; close the iterator to stop.

    A running cluster is used if Ray finds it (RAY_ADDRESS); otherwise one is started on this
    machine. All machines of a cluster must see the repository, the recordings and `.state` at the
    same paths. A shard is computed again if its worker or its machine is lost.

    Args:
        work: picklable function of the shard's number.
        fresh: whether each shard needs a process in which no other has run.

    Raises:
        PipelineError: what `work` raised.
        WorkerError: `work` raised another kind of exception, or a shard was lost too often.
        EngineError: Ray is not installed.
    """
    try:
        ray: Any = importlib.import_module("ray")
    except ImportError as error:
        raise EngineError(
            "collect.engine or ingest.engine is ray, but Ray is not installed; expected the extra: "
            "pip install ray, or set the engine to process"
        ) from error
    own = not ray.is_initialized()
    if own:
        ray.init(log_to_driver=False)
    waiting: deque[Any] = deque()
    try:
        # A worker of Ray ends after so many calls; 0 stands for no limit.
        remote = ray.remote(max_calls=int(fresh), max_retries=RETRIES)(_outcome)
        for number in itertools.count():
            # Run only a few shards ahead, so that memory stays bounded.
            while len(waiting) < max(2, 2 * int(ray.cluster_resources().get("CPU", 1))):
                waiting.append(remote.remote(work, number + len(waiting)))
            try:
                outcome = ray.get(waiting.popleft())
            except ray.exceptions.RayError as error:
                raise WorkerError(
                    f"Ray lost shard {number} {RETRIES + 1} times: {error}; often because memory "
                    "ran out or because machines leave the cluster"
                ) from error
            yield _unwrap(outcome)
    finally:
        for unwanted in waiting:
            ray.cancel(unwanted, force=True)
        if own:
            ray.shutdown()


def _outcome(work: Callable[[int], Result], number: int) -> Result | PipelineError:
    """The result, or the reason why there is none."""
    try:
        return work(number)
    except PipelineError as error:
        return error
    except Exception:
        return WorkerError(f"shard {number} failed:\n{traceback.format_exc()}")


def _unwrap(outcome: Any) -> Any:
    if isinstance(outcome, PipelineError):
        raise outcome
    return outcome

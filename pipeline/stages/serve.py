"""Serve a policy over a WebSocket until it is stopped."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from pipeline.run import console
from pipeline.runtime.load import load_policy
from pipeline.serving.security import tls_context
from pipeline.serving.server import PolicyServer, ServeError
from pipeline.serving.workers import Workers, shared_port


def run(
    model: str | Path,
    host: str,
    port: int,
    backend: str,
    token: str | None,
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
    workers: int = 1,
) -> None:
    """Listen until SIGINT or SIGTERM.

    Args:
        model: folder of stage export, policy.onnx, a checkpoint, or REPOSITORY@VERSION.
        host: address to listen on; one that others can reach needs a token.
        port: 0 takes a free one.
        backend: auto, tensorrt, tensorrt-rtx, onnxruntime or torch.
        token: that clients must present.
        tls_cert: PEM file of the server's certificate; None for an unencrypted connection.
        tls_key: PEM file of its private key.
        workers: processes that serve; each loads the policy, and a connection stays with one.

    Raises:
        PipelineError: the policy does not load, the port is taken, the address needs a token,
            certificate and key cannot be used, or a process ended.
    """
    serve_one = partial(_serve_one, model, host, backend, token, tls_cert, tls_key)
    if workers == 1:
        serve_one(False, port, partial(_say, model))
    else:
        _serve_in_processes(model, host, port, workers, serve_one)
    console.print("Stopped")


def _say(model: str | Path, where: str) -> None:
    console.print(f"Serving {model} on {where} (Ctrl-C stops)")


def _serve_in_processes(
    model: str | Path,
    host: str,
    port: int,
    number: int,
    serve_one: Callable[[bool, int, Callable[[str], None]], None],
) -> None:
    with ExitStack() as stack:
        try:
            free = stack.enter_context(shared_port(host, port))
        except OSError as error:
            raise _taken(host, port, error) from error
        workers = Workers(number, free, partial(serve_one, True))
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, lambda *_: workers.terminate())
        _say(model, f"{number} processes, {workers.ready[0]}")
        workers.wait()


def _taken(host: str, port: int, error: OSError) -> ServeError:
    return ServeError(f"cannot listen on {host}:{port}: {error}; choose another --port")


def _serve_one(
    model: str | Path,
    host: str,
    backend: str,
    token: str | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    shared: bool,
    port: int,
    say: Callable[[str], None],
) -> None:
    """Serve from this process; `say` is told backend and address once it listens."""
    tls = tls_context(tls_cert, tls_key)
    policy = load_policy(model, backend)
    server = PolicyServer(policy, token, tls)
    what = f"{policy.name} at {'wss' if tls else 'ws'}"
    asyncio.run(_serve(server, host, port, lambda where: say(f"{what}://{where}"), shared))


async def _serve(
    server: PolicyServer, host: str, port: int, say: Callable[[str], None], shared: bool
) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM,) if shared else (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stopped.set)
    try:
        listening = await server.start(host, port, shared)
    except OSError as error:
        raise _taken(host, port, error) from error
    async with listening:
        address = next(iter(listening.sockets)).getsockname()
        say(f"{address[0]}:{address[1]}")
        await stopped.wait()

"""Serve a policy over a WebSocket until it is stopped."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from pipeline.run import console
from pipeline.runtime.load import load_policy
from pipeline.serving.security import tls_context
from pipeline.serving.server import PolicyServer, ServeError


def run(
    model: str | Path,
    host: str,
    port: int,
    backend: str,
    token: str | None,
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
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

    Raises:
        PipelineError: the policy does not load, the port is taken, the address needs a token, or
            certificate and key cannot be used.
    """
    tls = tls_context(tls_cert, tls_key)
    policy = load_policy(model, backend)
    scheme = "wss" if tls else "ws"
    server = PolicyServer(policy, token, tls)
    asyncio.run(_serve(server, host, port, f"{model} on {policy.name} at {scheme}"))


async def _serve(server: PolicyServer, host: str, port: int, what: str) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stopped.set)
    try:
        listening = await server.start(host, port)
    except OSError as error:
        raise ServeError(
            f"cannot listen on {host}:{port}: {error}; choose another --port"
        ) from error
    async with listening:
        address = next(iter(listening.sockets)).getsockname()
        console.print(f"Serving {what}://{address[0]}:{address[1]} (Ctrl-C stops)")
        await stopped.wait()
    console.print("Stopped")

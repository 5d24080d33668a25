"""A policy behind a WebSocket: one session a connection, errors to the one who made them.

Protocol: the server greets with a map `hello`; then each binary frame is a msgpack map with `call`
(act, predict or reset) and its arguments, answered by one map in turn: the result, or `error`.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import logging
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from http import HTTPStatus
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from pipeline.errors import PipelineError
from pipeline.machine import available_cores
from pipeline.runtime.session import RobotPolicy, Session
from pipeline.serving.protocol import decode, encode

logger = logging.getLogger(__name__)

MAX_MESSAGE_BYTES = 1 << 20
"""Longest frame; an observation has some hundred bytes. A longer one closes the connection."""
MAX_WAITING = 4
"""Frames of a client that wait for its answer; a flood beyond them is held back by TCP."""
PREDICT_AT_MOST = 256
"""Observations of one `predict`."""


class ServeError(PipelineError):
    """The server cannot start as asked, or a call is none that it knows."""


class PolicyServer:
    """Serves one loaded policy to many clients."""

    def __init__(self, policy: RobotPolicy, token: str | None = None) -> None:
        """Prepare.

        Args:
            policy: computes chunks; its backend is shared, nothing else.
            token: what clients must present; None where everyone on this machine may call.
        """
        self._policy, self._token = policy, token
        # The engine computes outside Python's lock, so threads as many as cores are worth having.
        self._pool = ThreadPoolExecutor(available_cores(), thread_name_prefix="policy")

    async def start(self, host: str, port: int) -> Server:
        """Listen; the caller keeps the server running.

        Args:
            host: address.
            port: 0 takes a free one.

        Raises:
            ServeError: the address is open to others and there is no token.
            OSError: the port is taken.
        """
        if not self._token and not is_loopback(host):
            raise ServeError(
                f"{host} can be reached from other machines: give a token (--token), or serve on "
                "127.0.0.1"
            )
        return await serve(
            self._converse,
            host,
            port,
            process_request=self._admit,
            max_size=MAX_MESSAGE_BYTES,
            max_queue=MAX_WAITING,
            compression=None,
        )

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        if not self._token:
            return None
        given = request.headers.get("Authorization", "")
        if hmac.compare_digest(given.encode(), f"Bearer {self._token}".encode()):
            return None
        return connection.respond(HTTPStatus.UNAUTHORIZED, "the token is missing or wrong\n")

    async def _converse(self, connection: ServerConnection) -> None:
        session = self._policy.session()
        loop = asyncio.get_running_loop()
        try:
            await connection.send(encode({"hello": self._hello()}))
            async for frame in connection:
                received = time.perf_counter()
                answer = await loop.run_in_executor(self._pool, self._answer, session, frame)
                answer["server_ms"] = 1e3 * (time.perf_counter() - received)
                await connection.send(encode(answer))
        except ConnectionClosed as gone:
            logger.info("a client left: %s", gone)

    def _hello(self) -> dict[str, Any]:
        backend = self._policy.backend
        return {
            "layout": backend.layout.to_dict(),
            "rate_hz": backend.rate_hz,
            "backend": self._policy.name,
            "horizon": int(backend.config["horizon"]),
            "n_obs_steps": int(backend.config["n_obs_steps"]),
            "deployment": self._policy.deployment.to_json(),
            "geometry": backend.config.get("geometry"),
            "collision": backend.config.get("collision"),
        }

    def _answer(self, session: Session, frame: bytes | str) -> dict[str, Any]:
        """The answer to one frame; whatever is wrong with it becomes an error for its sender."""
        try:
            message = decode(frame)
            return self._call(session, message)
        except PipelineError as error:
            return {"error": str(error)}
        except Exception:  # one client's accident must not end the others' server
            logger.exception("a call failed")
            return {"error": "the server failed on this call; its log says why"}

    def _call(self, session: Session, message: Mapping[str, Any]) -> dict[str, Any]:
        call = message.get("call")
        known = {
            "act": {"observation"},
            "predict": {"obs", "noise", "seed"},
            "reset": {"seed"},
        }
        if not isinstance(call, str) or call not in known:
            raise ServeError(f"call is {call!r}, expected {', '.join(known)}")
        arguments = {key: value for key, value in message.items() if key != "call"}
        unknown = sorted(set(arguments) - known[call])
        if unknown:
            raise ServeError(f"{call} does not take {', '.join(unknown)}")
        try:
            if call == "act":
                joint_pos = session.act(arguments.get("observation", {}))
                found = session.finding
                return {"joint_pos": joint_pos, "guard": None if found is None else asdict(found)}
            if call == "reset":
                session.reset(**arguments)
                return {}
            return {"chunk": self._predict(**arguments)}
        except (TypeError, ValueError) as error:
            raise ServeError(f"{call}: {error}") from error

    def _predict(self, obs: Any = None, noise: Any = None, seed: int = 0) -> Any:
        if obs is None:
            raise ServeError("predict needs obs, shape (T, S) or (B, T, S)")
        if len(obs) > PREDICT_AT_MOST:
            raise ServeError(f"{len(obs)} observations, expected {PREDICT_AT_MOST} at most")
        return self._policy.predict(obs, noise, seed)


def is_loopback(host: str) -> bool:
    """Whether an address is of this machine alone.

    Args:
        host: name or address.
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

"""Serves a policy over a WebSocket: each connection has its own session and gets its own errors.

Protocol: the server greets with a map `hello`; then each binary frame is a msgpack map with `call`
(act, predict or reset) and its arguments, answered by one map in turn: the result, or `error`. A
call may carry an `id`, which its answer repeats.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import ssl
import time
import timeit
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from pipeline.errors import PipelineError
from pipeline.machine import available_cores
from pipeline.runtime.session import RobotPolicy, Session
from pipeline.runtime.warm_up import warm_up
from pipeline.serving.protocol import decode, encode
from pipeline.serving.security import is_loopback

logger = logging.getLogger(__name__)

MAX_MESSAGE_BYTES = 1 << 20
"""Longest frame, bytes; an observation has a few hundred. A longer one closes the connection."""
MAX_WAITING = 4
"""Frames of one client that wait for an answer; TCP holds further ones back."""
MAX_OBSERVATIONS = 256
"""Largest number of observations of one `predict`."""
QUICK_S = 0.002
"""Longest time of the network with which `act` computes a chunk without a thread, s. History,
limits and guard hold Python's lock in any case; with threads, all robots' calls wait for it."""


class ServeError(PipelineError):
    """The server cannot start as requested, or a call is malformed."""


class PolicyServer:
    """Serves one loaded policy to many clients."""

    def __init__(
        self, policy: RobotPolicy, token: str | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        """Prepare to serve.

        Args:
            policy: computes chunks; connections share its backend and nothing else.
            token: what clients must present; None lets everyone on this machine call.
            tls: certificate and key (`security.tls_context`); None for an open connection.
        """
        self._policy, self._token, self._tls = policy, token, tls
        times = timeit.repeat(lambda: warm_up(policy.backend, [1]), repeat=3, number=1)
        self._quick = min(times) <= QUICK_S
        # A slow engine computes outside Python's lock, so as many threads as cores are useful.
        self._pool = ThreadPoolExecutor(available_cores())
        # Whole motions take a hundred times as long as a chunk, and their robots are at rest.
        self._ahead = ThreadPoolExecutor(1)

    async def start(self, host: str, port: int, shared: bool = False) -> Server:
        """Listen; the caller keeps the server running.

        Web pages are refused: a browser names the page's origin in its request, a robot does not.

        Args:
            host: address.
            port: 0 takes a free one.
            shared: whether other processes may listen on the same port (`serving.workers`).

        Raises:
            ServeError: the address is open to others and there is no token.
            OSError: the port is taken.
        """
        if not self._token and not is_loopback(host):
            raise ServeError(
                f"{host} can be reached from other machines: give a token (--token), or serve on "
                "127.0.0.1"
            )
        if self._token and not self._tls and not is_loopback(host):
            logger.warning(
                "the token and all observations pass unencrypted to %s: anyone on the network can "
                "read the token and then command the robot; give --tls-cert and --tls-key, or "
                "reach the server through a VPN or an SSH tunnel",
                host,
            )
        return await serve(
            self._serve_client,
            host,
            port,
            origins=[None],
            process_request=self._check_token,
            ssl=self._tls,
            max_size=MAX_MESSAGE_BYTES,
            max_queue=MAX_WAITING,
            compression=None,
            reuse_port=shared or None,
        )

    def _check_token(self, connection: ServerConnection, request: Request) -> Response | None:
        if not self._token:
            return None
        given = request.headers.get("Authorization", "")
        if hmac.compare_digest(given.encode(), f"Bearer {self._token}".encode()):
            return None
        return connection.respond(HTTPStatus.UNAUTHORIZED, "the token is missing or wrong\n")

    async def _serve_client(self, connection: ServerConnection) -> None:
        session = self._policy.session()
        try:
            await connection.send(encode({"hello": self._hello()}))
            async for frame in connection:
                received = time.perf_counter()
                answer = await self._answer(session, frame)
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

    async def _answer(self, session: Session, frame: bytes | str) -> dict[str, Any]:
        """The answer to one frame; if the frame is wrong, the answer holds an error."""
        number: dict[str, Any] = {}
        try:
            message = decode(frame)
            if "id" in message:
                number["id"] = message.pop("id")
            act = message.get("call") == "act"
            ahead = act and session.may_rehearse
            if act and not ahead and (self._quick or session.steps_left):
                # Handing this to a thread would cost more than it saves.
                return number | self._call(session, message)
            pool = self._ahead if ahead else self._pool
            loop = asyncio.get_running_loop()
            return number | await loop.run_in_executor(pool, self._call, session, message)
        except PipelineError as error:
            return number | {"error": str(error)}
        except Exception:  # one client's failure must not stop the others
            logger.exception("a call failed")
            return number | {"error": "the server failed on this call; see its log"}

    def _call(self, session: Session, message: Mapping[str, Any]) -> dict[str, Any]:
        call = message.get("call")
        known = {
            "act": {"observation"},
            "predict": {"obs", "noise", "seed", "obstacles"},
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
                action = session.act(arguments.get("observation", {}))
                found = session.finding
                name = self._policy.layout.action[0].name  # joint_pos where there is an arm
                return {name: action, "guard": None if found is None else vars(found)}
            if call == "reset":
                session.reset(**arguments)
                return {}
            return {"chunk": self._predict(**arguments)}
        except (TypeError, ValueError) as error:
            raise ServeError(f"{call}: {error}") from error

    def _predict(
        self, obs: Any = None, noise: Any = None, seed: int = 0, obstacles: Any = None
    ) -> Any:
        if obs is None:
            raise ServeError("predict needs obs, shape (T, S) or (B, T, S)")
        if len(obs) > MAX_OBSERVATIONS:
            raise ServeError(f"{len(obs)} observations, expected {MAX_OBSERVATIONS} at most")
        return self._policy.predict(obs, noise, seed, obstacles)

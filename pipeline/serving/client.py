"""Calls a policy server from the robot's process. Needs NumPy, websockets and msgpack alone.

Shapes: B observations, T history steps, S numbers of an observation (the state, then 12 for each
obstacle that the policy can see), H horizon, J joints, M obstacles.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import ArrayLike, NDArray
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from pipeline.errors import PipelineError
from pipeline.layout import Layout
from pipeline.obstacles import parse
from pipeline.policy.observation import Obstacles, obstacle_rows
from pipeline.runtime.deployment import Deployment
from pipeline.runtime.guard.findings import Finding
from pipeline.runtime.robot_observation import OBSTACLES, Given
from pipeline.runtime.session import RobotPolicy
from pipeline.serving.protocol import WireError, decode, encode
from pipeline.serving.security import is_loopback

logger = logging.getLogger(__name__)

CLOSE_S = 1.0
"""Longest wait for a server to confirm that the connection ends."""


class ClientError(PipelineError):
    """The server cannot be reached, refused a call, or did not answer it."""


class PolicyClient:
    """One robot's session on a policy server: `reset`, `act`, `predict`, as `load_policy` gives.

    Example:
        with PolicyClient("ws://127.0.0.1:8765") as policy:
            policy.reset()
            while running:
                send(policy.act({"joint_pos": q, "pen_pos": p, "pen_axis": a}))

    `act` asks the server at every control step. The policy of `closed_loop` asks it for a chunk
    only when it needs one; history, execution and limits then run on the robot.

    Attributes:
        layout: the meaning of observations and actions.
        rate_hz: control rate, Hz; None if the training data had none.
        config: horizon and n_obs_steps; kinematics, with the number of obstacles that the policy
            can see, and collision shapes where the policy has them.
        finding: what the server's guard found of the newest chunk of `act`; None without a guard.
        deployment: execution and limits that the server acts with.
        server_ms: how long the server took over the last call, ms.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        timeout_s: float = 10.0,
        ca_file: str | Path | None = None,
    ) -> None:
        """Connect.

        Args:
            url: for instance ws://127.0.0.1:8765, or wss://robot:8765 where the server has TLS.
            token: that the server asks for.
            timeout_s: longest wait for the connection and for each answer.
            ca_file: PEM file of the certificate (or authority) to trust; None takes the system's.

        Raises:
            ClientError: nothing answers there, the certificate or the token is wrong, or it is
                another program's server.
        """
        self._url, self._timeout_s = url, timeout_s
        headers = {"Authorization": f"Bearer {token}"} if token else None
        self._open = ExitStack()
        try:
            parts = urlsplit(url)
            if token and parts.scheme == "ws" and not is_loopback(parts.hostname or ""):
                logger.warning("%s: the token passes unencrypted; serve with TLS, use wss://", url)
            tls = ssl.create_default_context(cafile=ca_file) if parts.scheme == "wss" else None
            connection = connect(
                url, additional_headers=headers, open_timeout=timeout_s, compression=None,
                max_size=None, ssl=tls, close_timeout=min(timeout_s, CLOSE_S),
            )  # fmt: skip
            self._socket = self._open.enter_context(connection)
            self._greet(decode(self._socket.recv(timeout_s))["hello"])
        except (
            OSError, WebSocketException, PipelineError, KeyError, TypeError, ValueError,
        ) as error:  # fmt: skip
            self._open.close()
            raise ClientError(f"{url}: no policy server answers there: {error}") from error
        self._calls, self._connected = 0, True
        self.server_ms = 0.0

    def _greet(self, hello: Mapping[str, Any]) -> None:
        self.layout = Layout.from_dict(hello["layout"])
        rate_hz = hello["rate_hz"]
        self.rate_hz: float | None = None if rate_hz is None else float(rate_hz)
        self.config: dict[str, Any] = {key: int(hello[key]) for key in ("horizon", "n_obs_steps")}
        self.config |= {key: hello.get(key) for key in ("geometry", "collision")}
        self._deployment = Deployment.from_json(hello["deployment"], self._url)
        self.deployment: Deployment | None = self._deployment
        self.finding: Finding | None = None

    def __enter__(self) -> PolicyClient:
        """The client."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """End the session. Calls after it raise ClientError."""
        self._connected = False
        self._open.close()

    def reset(self, seed: int = 0) -> None:
        """Forget history and chunks.

        Args:
            seed: of the noise from now on.
        """
        self._call({"call": "reset", "seed": seed})

    def act(self, observation: Given) -> NDArray[np.float64]:
        """The joint positions, or the action, to command now; see `Session.act`.

        Args:
            observation: by names, with `obstacles` where there are any, or the state vector, shape
                (state_dim,) or (S,).

        Returns:
            rad. Shape (J,).

        Raises:
            ObstacleError: an obstacle is malformed; nothing was sent.
            ClientError: the server refused it, did not answer in time, or is gone. After
                all but a refusal the connection is closed.
        """
        if isinstance(observation, Mapping):
            sent: Any = {
                key: parse(value) if key == OBSTACLES else np.asarray(value)
                for key, value in observation.items()
            }
        else:
            sent = np.asarray(observation)
        name = self.layout.action[0].name  # joint_pos where there is an arm
        answer = self._call({"call": "act", "observation": sent}, name)
        found = answer.get("guard")
        self.finding = None if found is None else Finding(**found)
        action: NDArray[np.float64] = answer[name]
        return action

    def closed_loop(self, seed: int = 0, control_hz: float | None = None) -> RobotPolicy:
        """A policy that acts in this process and gets its chunks from the server.

        Args:
            seed: of the noise.
            control_hz: how often its `act` will be called; None for the policy's own rate.

        Returns:
            What `load_policy` gives, with the server as its backend. It ends with the client.
        """
        return RobotPolicy(self, self._url, self._deployment, seed, control_hz)

    def predict(
        self,
        obs: ArrayLike,
        noise: ArrayLike | None = None,
        seed: int = 0,
        obstacles: Obstacles | None = None,
    ) -> NDArray[np.float32]:
        """Raw chunks; see `RobotPolicy.predict`.

        Args:
            obs: shape (T, S) or (B, T, S); or without obstacles, shape (T, state_dim) or
                (B, T, state_dim).
            noise: shape (B, H, A); drawn by the server from `seed` where it is left out.
            seed: of that noise.
            obstacles: around the arm of every observation, in the form that
                `pipeline.obstacles.parse` takes, or of each, shape (B, M, 12); None for none, or
                where `obs` includes them.

        Returns:
            rad. Shape (B, H, J).

        Raises:
            ObstacleError: an obstacle is malformed; nothing was sent.
            ClientError: the server refused it, did not answer in time, or is gone. After
                all but a refusal the connection is closed.
        """
        message: dict[str, Any] = {"call": "predict", "obs": np.asarray(obs), "seed": seed}
        if noise is not None:
            message["noise"] = np.asarray(noise)
        if obstacles is not None:
            message["obstacles"] = obstacle_rows(obstacles)
        chunk: NDArray[np.float32] = self._call(message, "chunk")["chunk"]
        return chunk

    def _call(self, message: dict[str, Any], *wanted: str) -> dict[str, Any]:
        """The answer to a call, which must hold the values `wanted`.

        A late answer must never be taken for that of the next call: every call has a number, and
        whatever leaves an answer outstanding closes the connection.
        """
        if not self._connected:
            raise ClientError(f"{self._url}: the connection is closed; connect again")
        self._calls += 1
        try:
            self._socket.send(encode({**message, "id": self._calls}))
            answer = decode(self._socket.recv(self._timeout_s))
            if "error" in answer and answer.get("id") in (None, self._calls):
                raise ClientError(f"{self._url}: {answer['error']}")
            if answer.get("id") != self._calls:
                raise WireError(f"an answer to call {answer.get('id')}, expected {self._calls}")
            self.server_ms = float(answer["server_ms"])
            return answer | {key: answer[key] for key in wanted}
        except TimeoutError as error:
            self.close()
            raise ClientError(
                f"{self._url}: no answer within {self._timeout_s:g} s; the connection is closed, "
                "connect again"
            ) from error
        except KeyError as error:
            self.close()
            raise ClientError(f"{self._url}: the answer lacks {error}") from error
        except (OSError, WebSocketException, WireError) as error:
            self.close()
            raise ClientError(
                f"{self._url}: the connection is lost ({error}); connect again"
            ) from error

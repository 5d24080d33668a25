"""Calls a policy server from a robot's own process. NumPy, websockets and msgpack alone.

Shapes: B observations, T history steps, S state numbers, H horizon, J joints.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from pipeline.errors import PipelineError
from pipeline.layout import Layout
from pipeline.runtime.guard.findings import Finding
from pipeline.runtime.session import Deployment, RobotPolicy
from pipeline.serving.protocol import decode, encode


class ClientError(PipelineError):
    """The server cannot be reached, or refused a call."""


class PolicyClient:
    """One robot's session on a policy server: `reset`, `act`, `predict`, as `load_policy` gives.

    Example:
        with PolicyClient("ws://127.0.0.1:8765") as policy:
            policy.reset()
            while running:
                send(policy.act({"joint_pos": q, "pen_pos": p, "pen_axis": a}))

    `act` asks the server at every control step. `closed_loop` asks it for chunks alone, as seldom
    as the policy executes them: history, execution and limits are then the robot's own.

    Attributes:
        layout: the meaning of observations and actions.
        rate_hz: control rate, Hz.
        config: horizon and n_obs_steps; kinematics and collision shapes where the policy has them.
        finding: what the server's guard found of the newest chunk of `act`; None without a guard.
        deployment: execution and limits that the server acts with.
        server_ms: how long the server took over the last call, ms.
    """

    def __init__(self, url: str, token: str | None = None, timeout_s: float = 10.0) -> None:
        """Connect.

        Args:
            url: for instance ws://127.0.0.1:8765.
            token: that the server asks for.
            timeout_s: longest wait for the connection and for each answer.

        Raises:
            ClientError: nobody answers there, or the token is wrong.
        """
        self._url, self._timeout_s = url, timeout_s
        headers = {"Authorization": f"Bearer {token}"} if token else None
        self._stack = ExitStack()
        try:
            wire = connect(
                url, additional_headers=headers, open_timeout=timeout_s, compression=None,
                max_size=None,
            )  # fmt: skip
            self._socket = self._stack.enter_context(wire)
            hello = decode(self._socket.recv(timeout_s))["hello"]
        except (OSError, InvalidStatus, ConnectionClosed, KeyError) as error:
            self._stack.close()
            raise ClientError(f"{url}: no policy server answers there: {error}") from error
        self.layout = Layout.from_dict(hello["layout"])
        self.rate_hz: float | None = float(hello["rate_hz"])
        self.config: dict[str, Any] = {key: int(hello[key]) for key in ("horizon", "n_obs_steps")}
        self.config |= {key: hello.get(key) for key in ("geometry", "collision")}
        self._deployment = Deployment.from_json(hello["deployment"], url)
        self.deployment: Deployment | None = self._deployment
        self.finding: Finding | None = None
        self.server_ms = 0.0

    def __enter__(self) -> PolicyClient:
        """Itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave."""
        self.close()

    def close(self) -> None:
        """End the session."""
        self._stack.close()

    def reset(self, seed: int = 0) -> None:
        """Forget history and chunks.

        Args:
            seed: of the noise from now on.
        """
        self._call({"call": "reset", "seed": seed})

    def act(self, observation: Mapping[str, ArrayLike] | ArrayLike) -> NDArray[np.float64]:
        """The joint positions to command now; see `Session.act`.

        Args:
            observation: by names, or the state vector, shape (S,).

        Returns:
            rad. Shape (J,).

        Raises:
            ClientError: the server refused it, or is gone.
        """
        if isinstance(observation, Mapping):
            sent: Any = {key: np.asarray(value) for key, value in observation.items()}
        else:
            sent = np.asarray(observation)
        answer = self._call({"call": "act", "observation": sent})
        found = answer.get("guard")
        self.finding = None if found is None else Finding(**found)
        joint_pos: NDArray[np.float64] = answer["joint_pos"]
        return joint_pos

    def closed_loop(self, seed: int = 0, control_hz: float | None = None) -> RobotPolicy:
        """A policy that acts here and has its chunks computed there.

        Args:
            seed: of the noise.
            control_hz: how often its `act` will be called; None for the policy's own rate.

        Returns:
            What `load_policy` gives, but for the backend; closing the client ends it.
        """
        return RobotPolicy(self, self._url, self._deployment, seed, control_hz)

    def predict(
        self, obs: ArrayLike, noise: ArrayLike | None = None, seed: int = 0
    ) -> NDArray[np.float32]:
        """Raw chunks; see `RobotPolicy.predict`.

        Args:
            obs: shape (T, S) or (B, T, S).
            noise: shape (B, H, A); drawn by the server from `seed` where it is left out.
            seed: of that noise.

        Returns:
            rad. Shape (B, H, J).

        Raises:
            ClientError: the server refused it, or is gone.
        """
        message: dict[str, Any] = {"call": "predict", "obs": np.asarray(obs), "seed": seed}
        if noise is not None:
            message["noise"] = np.asarray(noise)
        chunk: NDArray[np.float32] = self._call(message)["chunk"]
        return chunk

    def _call(self, message: dict[str, Any]) -> dict[str, Any]:
        try:
            self._socket.send(encode(message))
            answer = decode(self._socket.recv(self._timeout_s))
        except (ConnectionClosed, OSError) as error:
            raise ClientError(f"{self._url}: the server is gone: {error}") from error
        if "error" in answer:
            raise ClientError(f"{self._url}: {answer['error']}")
        self.server_ms = float(answer["server_ms"])
        return answer

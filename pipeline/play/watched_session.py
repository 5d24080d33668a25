"""A session whose chunks can be watched: what the policy wanted, what is sent, how long it took."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.runtime.backends.backend import Backend
from pipeline.runtime.deployment import Deployment
from pipeline.runtime.robot_observation import Given
from pipeline.runtime.session import Session

Array = NDArray[np.float64]
Float32 = NDArray[np.float32]


class WatchedBackend:
    """Passes calls to a backend and keeps the first chunk since `forget`."""

    def __init__(self, backend: Backend) -> None:
        """Wrap a backend.

        Args:
            backend: computes the chunks.
        """
        self._backend = backend
        self.layout, self.config = backend.layout, backend.config
        self.rate_hz, self.deployment = backend.rate_hz, backend.deployment
        self.chunk: Array | None = None
        """The policy's own chunk, rad, shape (H, J); None if none was asked for."""

    def predict(self, obs: ArrayLike, noise: ArrayLike) -> Float32:
        """Compute chunks.

        Args:
            obs: observations. Shape (B, T, S).
            noise: where the denoising starts. Shape (B, H, A).
        """
        chunks = self._backend.predict(obs, noise)
        if self.chunk is None:
            self.chunk = np.asarray(chunks[0], dtype=np.float64)
        return chunks

    def forget(self) -> None:
        """Drop the kept chunk."""
        self.chunk = None


class WatchedSession(Session):
    """A session that tells what its newest call of `act` did."""

    def __init__(
        self, backend: Backend, deployment: Deployment, seed: int, control_hz: float | None
    ) -> None:
        """Start with an empty history; see `Session`.

        Args:
            backend: computes the chunks.
            deployment: execution settings and limits.
            seed: seed of the noise that chunks start from.
            control_hz: calls of `act` per second; None for the policy's own rate.
        """
        self._watched = WatchedBackend(backend)
        self.seconds = 0.0
        """Duration of the newest call of `act` that computed a chunk, s."""
        super().__init__(self._watched, deployment, seed, control_hz)

    def act(self, observation: Given) -> Array:
        """Compute the joint positions to command now; see `Session.act`.

        Args:
            observation: values in the layout's units.
        """
        self._watched.forget()
        started = time.perf_counter()
        command = super().act(observation)
        if self._watched.chunk is not None:
            self.seconds = time.perf_counter() - started
        return command

    @property
    def chunk(self) -> Array | None:
        """The policy's own chunk if the newest call computed one. Rad, shape (H, J)."""
        return self._watched.chunk

    @property
    def upcoming(self) -> Array:
        """What will be sent if no new chunk comes, before the joint limits. Rad, shape (K, J)."""
        rows: Array = self._executor.rest(np.zeros(1, np.int64))[0]
        return rows

"""Cubic interpolation and differentiation of sampled motions. NumPy alone."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def hermite(t: Array, position: Array, velocity: Array, at: Array) -> tuple[Array, Array]:
    """Cubic Hermite interpolation and its derivative; constant outside the samples.

    Args:
        t: strictly increasing times, s. Shape (T,).
        position: values. Shape (T, J).
        velocity: their derivatives. Shape (T, J).
        at: times asked for, s. Shape (K,).

    Returns:
        Values and derivatives, each (K, J); the derivative is zero before and after the samples.
    """
    clamped = np.clip(at, t[0], t[-1])
    left = np.clip(np.searchsorted(t, clamped, side="right") - 1, 0, len(t) - 2)
    width = (t[left + 1] - t[left])[:, None]
    s = (clamped - t[left])[:, None] / width
    p0, p1 = position[left], position[left + 1]
    m0, m1 = width * velocity[left], width * velocity[left + 1]
    # p0 + s(…) reaches p1 exactly at s = 1 up to rounding; the ends are then set to the samples.
    delta = p1 - p0
    values = p0 + s * (m0 + s * ((3 * delta - 2 * m0 - m1) + s * (m0 + m1 - 2 * delta)))
    slopes = (m0 + s * (2 * (3 * delta - 2 * m0 - m1) + s * 3 * (m0 + m1 - 2 * delta))) / width
    values = np.where(clamped[:, None] == t[-1], position[-1], values)
    slopes = np.where((clamped == at)[:, None], slopes, 0.0)
    return values, slopes


def differentiate(t: Array, position: Array) -> Array:
    """Velocities by central differences, one-sided at the ends, second order throughout.

    Args:
        t: strictly increasing times, s. Shape (T,), T ≥ 2.
        position: values. Shape (T, J).
    """
    order: Literal[1, 2] = 2 if len(t) > 2 else 1
    return np.asarray(np.gradient(position, t, axis=0, edge_order=order), dtype=np.float64)


def limited_derivative(t: Array, position: Array) -> Array:
    """Velocities with which `hermite` stays between the samples however uneven their times are.

    Central differences, limited as by Fritsch and Carlson (1980): of the sign of the slopes beside
    a sample and at most three times the smaller one; 0 where the slopes differ in sign.

    Args:
        t: strictly increasing times, s. Shape (T,), T ≥ 2.
        position: values. Shape (T, J).
    """
    slope = np.diff(position, axis=0) / np.diff(t)[:, None]
    before, after = np.concatenate([slope[:1], slope]), np.concatenate([slope, slope[-1:]])
    bound = np.where(before * after > 0, 3 * np.minimum(np.abs(before), np.abs(after)), 0.0)
    forwards = np.sign(before) * differentiate(t, position)
    return np.asarray(np.sign(before) * np.clip(forwards, 0.0, bound), dtype=np.float64)

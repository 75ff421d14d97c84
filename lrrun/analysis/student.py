"""Intervals for the mean of a few values: Student's t, in closed form."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CONFIDENCE = 0.95
"""Of every interval and band, unless another one is asked for."""

_SMOOTH, _NODES = 12, 200
"""A power of cos, and nodes for it, that give t to nine digits up to 5000 degrees of freedom."""


def t_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> float | None:
    """Half the width of the interval for the mean of n values: t_{n-1} · s / √n.

    s is their standard deviation (n-1 in its denominator). None for fewer than two values, or where
    one is not finite (Student, The Probable Error of a Mean, Biometrika 6, 1908).

    >>> round(t_interval([1.0, 2.0, 3.0]), 4), t_interval([1.0])
    (2.4841, None)
    """
    n = len(values)
    if n < 2 or not np.isfinite(values).all():
        return None
    return t_quantile(n - 1, confidence) * deviation(values) / math.sqrt(n)


def deviation(values: Sequence[float]) -> float:
    """The standard deviation of two values or more: exactly 0 where all are the same."""
    return float(np.std(np.subtract(values, values[0]), ddof=1))


@lru_cache
def t_quantile(freedom: float, confidence: float = CONFIDENCE) -> float:
    """The t that |T| stays below with probability `confidence`, T with `freedom` degrees.

    Found by bisection of the angle θ = atan(t/√ν); ν need not be whole (Welch's seldom is).

    >>> round(t_quantile(2), 3), round(t_quantile(1, 0.5), 6)
    (4.303, 1.0)
    """
    if freedom < 1 or not 0 < confidence < 1:
        raise ValueError(f"expected freedom >= 1 and 0 < confidence < 1: {freedom}, {confidence}")
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, freedom) < confidence else (low, middle)
    return math.sqrt(freedom) * math.tan((low + high) / 2)


def _within(angle: float, freedom: float) -> float:
    """P(|T| <= √ν tan θ): a finite series in cos θ (Abramowitz & Stegun 1964, 26.7.3-4).

    For ν that is not whole, ∫ cos^(ν-1) up to θ over that up to π/2.
    """
    if freedom != int(freedom):
        whole = math.lgamma(freedom / 2) - math.lgamma((freedom + 1) / 2)
        return _cosine_power(angle, freedom - 1) / (math.sqrt(math.pi) / 2 * math.exp(whole))
    freedom = int(freedom)
    sin, cos = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term, total = (cos, 0.0) if odd else (1.0, 0.0)
    for k in range(1 + odd, freedom, 2):
        total += term
        term *= cos * cos * k / (k + 1)
    return 2 / math.pi * (angle + sin * total) if odd else sin * total


def _cosine_power(angle: float, m: float) -> float:
    """∫ cos^m from 0 to θ, by parts until it is smooth at π/2, then by Gauss and Legendre."""
    total, factor = 0.0, 1.0
    while m < _SMOOTH:
        total -= factor * math.sin(angle) * math.cos(angle) ** (m + 1) / (m + 1)
        factor *= (m + 2) / (m + 1)
        m += 2
    nodes, weights = _gauss_legendre()
    return total + factor * angle / 2 * float(weights @ np.cos(angle / 2 * (nodes + 1)) ** m)


@lru_cache
def _gauss_legendre() -> tuple[Floats, Floats]:
    """Nodes and weights over -1 to 1."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    return nodes, weights

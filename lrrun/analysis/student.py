"""Intervals for the mean of a few values: Student's t, in closed form."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

CONFIDENCE = 0.95
"""Of every interval and band, unless another one is asked for."""


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
    return t_quantile(n - 1, confidence) * float(np.std(values, ddof=1)) / math.sqrt(n)


@lru_cache
def t_quantile(freedom: int, confidence: float = CONFIDENCE) -> float:
    """The t that |T| stays below with probability `confidence`, T with `freedom` degrees.

    Found by bisection of the angle θ = atan(t/√ν).

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


def _within(angle: float, freedom: int) -> float:
    """P(|T| <= √ν tan θ): a finite series in cos θ (Abramowitz & Stegun 1964, 26.7.3-4)."""
    sin, cos = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term, total = (cos, 0.0) if odd else (1.0, 0.0)
    for k in range(1 + odd, freedom, 2):
        total += term
        term *= cos * cos * k / (k + 1)
    return 2 / math.pi * (angle + sin * total) if odd else sin * total

"""A band around the distribution that n independent values came from, whatever it is.

The value of rank i, put through its own distribution function, is Beta(i, n+1-i) distributed. The
band gives every rank an interval with equal tails, and one tail for all ranks, so that all of them
hold at once with the confidence that is asked for. It is much narrower at the ends than a band of
one width, and the ends are where the best trials are (Learned-Miller and DeSantis 2008; Lourie, Cho
and He, Show Your Work with Confidence, 2023, https://arxiv.org/abs/2311.09480).
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

EXACT = 200
"""Beyond so many values the band has one width (Dvoretzky, Kiefer, Wolfowitz; Massart 1990)."""


@lru_cache(maxsize=64)
def band(n: int, confidence: float) -> tuple[Floats, Floats]:
    """(lowest, highest) share of the distribution up to the value of each rank, shape (n,) each.

    With probability `confidence` all hold: lowest[i] <= F(the value of rank i) <= highest[i].

    >>> [side.round(3).tolist() for side in band(1, 0.9)]
    [[0.05], [0.95]]
    """
    if n < 1 or not 0 < confidence < 1:
        raise ValueError(f"expected n >= 1 and 0 < confidence < 1, got {n} and {confidence}")
    if n > EXACT:
        width, ranks = math.sqrt(math.log(2 / (1 - confidence)) / (2 * n)), np.arange(1, n + 1) / n
        return np.maximum(ranks - width, 0.0), np.minimum(ranks - 1 / n + width, 1.0)
    low, high = math.log((1 - confidence) / (8 * n)), math.log((1 - confidence) / 2)
    for _ in range(30):  # of the tail's logarithm: a smaller tail, a wider band
        middle = (low + high) / 2
        covers = stays_within(*_intervals(n, math.exp(middle))) >= confidence
        low, high = (middle, high) if covers else (low, middle)
    return _intervals(n, math.exp(low))


def _intervals(n: int, tail: float) -> tuple[Floats, Floats]:
    """The `tail` and `1 - tail` quantiles of Beta(i, n+1-i) for every rank i, by bisection.

    P(Beta(i, n+1-i) <= x) = P(Binomial(n, x) >= i).
    """
    k = np.arange(n + 1)
    log_choose = np.array(
        [math.lgamma(n + 1) - math.lgamma(j + 1) - math.lgamma(n + 1 - j) for j in k]
    )
    counted = k >= np.arange(1, n + 1)[:, None]
    low, high = np.zeros(n), np.ones(n)
    for _ in range(50):
        x = (low + high) / 2
        log_mass = log_choose + k * np.log(x)[:, None] + (n - k) * np.log1p(-x)[:, None]
        below = np.sum(np.exp(log_mass), axis=1, where=counted) < tail
        low, high = np.where(below, x, low), np.where(below, high, x)
    return low, 1.0 - low[::-1]


def stays_within(lowest: Floats, highest: Floats) -> float:
    """P(lowest[i] <= U_i <= highest[i] for all ranks i) of n sorted uniform values, exactly.

    Their counting process is a Poisson process of rate n that ends at n: between the ends of the
    intervals its counts convolve, and at each end those counts that break a bound are taken out
    (Moscovich and Nadler, Fast calculation of boundary crossing probabilities for Poisson
    processes, 2017, https://arxiv.org/abs/1503.04363).

    >>> round(stays_within(np.array([0.2]), np.array([0.7])), 12)
    0.5
    """
    n = len(lowest)
    ends = [(float(t), True, i) for i, t in enumerate(lowest)]
    ends += [(float(t), False, i) for i, t in enumerate(highest)]
    chances, at = np.zeros(n + 1), 0.0
    chances[0] = 1.0
    for t, is_lowest, i in sorted(ends):
        chances = _after(chances, n * (t - at))
        at = t
        if is_lowest:  # at most i values may have come before lowest[i]
            chances[i + 1 :] = 0.0
        else:  # at least i + 1 must have come by highest[i]
            chances[: i + 1] = 0.0
    chances = _after(chances, n * (1.0 - at))
    return float(chances[n] / math.exp(n * math.log(n) - n - math.lgamma(n + 1)))


def _after(chances: Floats, mean: float) -> Floats:
    """The chances of each count after more of them come, Poisson distributed with this mean."""
    if mean <= 0.0:
        return chances
    k = np.arange(len(chances))
    log_factorials = np.concatenate([[0.0], np.cumsum(np.log(k[1:]))])
    return np.convolve(chances, np.exp(k * math.log(mean) - mean - log_factorials))[: len(chances)]

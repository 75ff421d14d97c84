"""The best of k random trials: what a budget buys, so that unequal budgets are not compared.

Following Lourie, Cho and He, Show Your Work with Confidence: Confidence Bands for Tuning Curves,
2023, https://arxiv.org/abs/2311.09480: the curve of medians, which exists where trials diverge, in
a band that holds at all k at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lrrun.analysis.order_statistics import Floats, band
from lrrun.analysis.student import CONFIDENCE


@dataclass(frozen=True)
class BestOfK:
    """The best loss of k trials drawn at random, for k = 1..n, shape (n,) each.

    `median` is of the best loss, `low` to `high` its band; -inf and inf where the n trials that
    were made set no bound. `expected` is its mean over all choices of k of the n trials, inf where
    k trials may all diverge.
    """

    label: str
    k: Floats
    median: Floats
    low: Floats
    high: Floats
    expected: Floats


def best_of_k(label: str, losses: Sequence[float], confidence: float = CONFIDENCE) -> BestOfK:
    """The curve of n >= 1 trials; a diverged one has the loss inf.

    The best of k is at most y with probability 1 - (1 - F(y))^k, so its median is the quantile of F
    at 1 - 2^(-1/k), read off the trials' distribution for the curve and off the ends of its band
    for the band. Σ_i C(n-i, k-1) / C(n, k) · y_i, over the losses rising, is the mean.

    >>> curve = best_of_k("cosine", [3.0, 1.0, 2.0])
    >>> curve.median.tolist(), curve.expected.round(3).tolist()
    ([2.0, 1.0, 1.0], [2.0, 1.333, 1.0])
    """
    y, n = np.sort(np.asarray(losses, float)), len(losses)
    if not n:
        raise ValueError("expected at least one loss")
    k = np.arange(1, n + 1)
    at = -np.expm1(-math.log(2) / k)  # 1 - 2^(-1/k), the quantile that is the median of the best
    lowest, highest = band(n, confidence)
    ranks = np.minimum(np.ceil(at * n - 1e-9).astype(int), n) - 1
    above = np.searchsorted(lowest, at, side="left")  # the first rank that is surely past it
    below = np.searchsorted(highest, at, side="right") - 1  # the last that is surely not
    return BestOfK(
        label,
        k.astype(float),
        y[ranks],
        np.where(below >= 0, y[np.maximum(below, 0)], -np.inf),
        np.append(y, np.inf)[above],
        np.array([_mean_of_best(y, int(size)) for size in k]),
    )


def _mean_of_best(y: Floats, k: int) -> float:
    """The mean of the least of k values drawn from n without putting any back; y rises."""
    n = len(y)
    weight, mean = k / n, 0.0  # that of the least value: it is drawn
    for i in range(n - k + 1):
        mean += weight * float(y[i])
        weight *= (n - i - k) / (n - i - 1) if n - i > 1 else 0.0
    return mean


def at_equal_budget(curves: Sequence[BestOfK]) -> str:
    """One sentence: who is ahead after as many trials as the least had, and how surely.

    The numbers of trials at which the bands are apart are small ones: no trials tell how good the
    best of many may be.
    """
    if len(curves) < 2:
        return ""
    k = min(len(curve.k) for curve in curves)
    order = sorted(curves, key=lambda curve: float(curve.median[k - 1]))
    first, second = order[0], order[1]
    best, next_best = float(first.median[k - 1]), float(second.median[k - 1])
    budget = f"With {k} trial{'' if k == 1 else 's'} each, drawn from those made"
    if math.isinf(best):
        return f"{budget}, even the best one diverges more often than not."
    medians = f"the best loss is {best:.4g} for {first.label}, {next_best:.4g} for {second.label}"
    apart = [j + 1 for j in range(k) if all(first.high[j] < other.low[j] for other in order[1:])]
    if not apart:
        return f"{budget}, {medians} (medians); the 95% bands overlap, so this may be chance."
    span = f"{apart[0]}" if len(apart) == 1 else f"{apart[0]} to {apart[-1]}"
    return f"{budget}, {medians} (medians); the 95% bands are apart at {span} trials."

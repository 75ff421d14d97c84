"""Curves of one config under several seeds, as their mean and the band around it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from lrrun.analysis.curves import Floats
from lrrun.analysis.student import t_quantile


@dataclass(frozen=True)
class SeedBand:
    """The mean over seeds at every x that all of them have, shape (n,); the 95% interval of it.

    `low` and `high` are pointwise t intervals; they are the mean itself for a single seed.
    """

    x: Floats
    mean: Floats
    low: Floats
    high: Floats


def seed_band(curves: Sequence[tuple[Floats, Floats]]) -> SeedBand:
    """The mean of curves (x, y), at least one, x rising.

    >>> x = np.array([10.0, 20.0])
    >>> seed_band([(x, np.array([2.0, 1.0])), (x, np.array([4.0, 1.0]))]).mean.tolist()
    [3.0, 1.0]
    """
    shared = reduce(np.intersect1d, (x for x, _ in curves))
    values = np.stack([y[np.searchsorted(x, shared)] for x, y in curves])
    mean = values.mean(axis=0)
    seeds = len(curves)
    half = np.zeros_like(mean)
    if seeds > 1:
        half = t_quantile(seeds - 1) * values.std(axis=0, ddof=1) / math.sqrt(seeds)
    return SeedBand(shared, mean, mean - half, mean + half)

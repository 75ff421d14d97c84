"""The basin of a response curve: the LRs around the best one that are about as good."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from lrrun.analysis.points import Point

CLIFF = 2.0
"""A mean loss this many times the best one is no part of the valley."""

GAP_SHARE = 0.01
"""Without seeds to tell the noise: this share of what training gained is about as good."""


@dataclass(frozen=True)
class Tolerance:
    """How much above the best a loss may be and still count as about as good, and why so much."""

    value: float
    why: str


@dataclass(frozen=True)
class Basin:
    """The LRs from `low` to `high`, around the best one, whose loss is within the tolerance.

    Open on a side where the LRs that were tried end before the basin does.
    """

    low: float
    high: float
    open_low: bool
    open_high: bool

    @property
    def decades(self) -> float:
        """Its width, log10(high / low); a lower bound where it is open."""
        return math.log10(self.high / self.low)


def best_index(points: Sequence[Point]) -> int | None:
    """Of the LR with the lowest mean loss; of equal ones the middle one, None where all diverged.

    An LR at which a seed diverged is never the best.
    """
    means = [point.mean for point in points]
    lowest = min(means, default=math.inf)
    ties = [k for k, mean in enumerate(means) if mean == lowest < math.inf]
    return ties[(len(ties) - 1) // 2] if ties else None


def noise(points: Sequence[Point]) -> float | None:
    """The seed-to-seed standard deviation at the best LR and its two neighbours, pooled.

    sqrt(Σ (n_i - 1) s_i² / Σ (n_i - 1)); None where one seed was tried, or all are equal. A
    neighbour whose mean loss is above CLIFF times the best one is over the edge, where seeds tell
    of the fall.

    >>> steep = [Point(0.1, (1.0, 1.2)), Point(1.0, (2.0, 9.0))]
    >>> round(noise(steep), 3)
    0.141
    """
    best = best_index(points)
    if best is None:
        return None
    lowest = points[best].mean
    near = [
        point
        for point in points[max(0, best - 1) : best + 2]
        if lowest <= 0 or point.mean <= CLIFF * lowest
    ]
    known = [(len(p.losses) - 1, p.deviation) for p in near if p.deviation is not None]
    freedom = sum(n for n, _ in known)
    pooled = math.sqrt(sum(n * s * s for n, s in known) / freedom) if freedom else 0.0
    return pooled or None


def tolerance(points: Sequence[Point], untrained: float | None) -> Tolerance:
    """What counts as about as good on the curve with the best loss of all.

    One seed-to-seed standard deviation; where that is not known GAP_SHARE of the way from the best
    loss up to `untrained`, the loss before training.
    """
    spread = noise(points)
    if spread is not None:
        return Tolerance(spread, "one seed-to-seed standard deviation")
    best = best_index(points)
    gap = 0.0 if best is None or untrained is None else untrained - points[best].mean
    why = "of what training gained; more seeds would tell the noise"
    return Tolerance(GAP_SHARE * max(0.0, gap), f"{GAP_SHARE:.0%} {why}")


def basin(points: Sequence[Point], within: float) -> Basin | None:
    """The basin of a curve, its points by rising LR; None where all of them diverged.

    Its ends are where the mean loss, interpolated linearly in log LR, reaches the best one plus
    `within`; next to an LR that diverged, the last good LR. A good LR beyond a bad one is outside.

    >>> curve = [Point(10.0**k, (loss,)) for k, loss in enumerate([3.0, 1.0, 2.0, float("inf")])]
    >>> found = basin(curve, 1.0)
    >>> round(found.low, 3), round(found.high, 3), found.open_high, round(found.decades, 2)
    (3.162, 100.0, False, 1.5)
    """
    best = best_index(points)
    if best is None:
        return None
    limit = points[best].mean + within
    low, open_low = _end(points[best::-1], limit)
    high, open_high = _end(points[best:], limit)
    return Basin(low, high, open_low, open_high)


def _end(outwards: Sequence[Point], limit: float) -> tuple[float, bool]:
    """From the best point on: the LR where the limit is passed; is there no such place?"""
    for good, bad in pairwise(outwards):
        if bad.mean > limit:
            if math.isinf(bad.mean):
                return good.lr, False
            share = (limit - good.mean) / (bad.mean - good.mean)
            return good.lr * (bad.lr / good.lr) ** share, False
    return outwards[-1].lr, True

"""How far two means over seeds are apart, how sure that is, and how many seeds would tell."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from lrrun.analysis.student import CONFIDENCE, deviation, t_quantile

POWER = 0.8
"""The probability with which the seeds that are asked for show a difference that is there."""

MOST_SEEDS = 1000
"""More are not worth asking for: the difference does not matter, or cannot be told."""

Kind = Literal["paired", "welch", "pooled", "single"]


@dataclass(frozen=True)
class MeanDifference:
    """The mean of one group minus that of another, over `seeds` of each.

    `half_width` is half its interval at `confidence`: None for one seed each, which have no spread.
    `deviation` is the standard deviation of one seed's difference. `kind` says how it was found.
    """

    value: float
    half_width: float | None
    deviation: float
    seeds: tuple[int, int]
    kind: Kind
    confidence: float

    @property
    def low(self) -> float:
        """The lower end of the interval; the difference itself where it has none."""
        return self.value - (self.half_width or 0.0)

    @property
    def high(self) -> float:
        """The upper end of the interval; the difference itself where it has none."""
        return self.value + (self.half_width or 0.0)

    @property
    def is_told(self) -> bool:
        """Does the interval leave out 0?"""
        return self.half_width is not None and (self.low > 0 or self.high < 0)

    @property
    def how(self) -> str:
        """The test in words, with its seeds."""
        ours, theirs = self.seeds
        each = f"{ours} seeds each" if ours == theirs else f"{ours} and {theirs} seeds"
        words = {
            "paired": f"paired over {ours} seeds",
            "welch": f"Welch, {each}",
            "pooled": f"{each}, taken to spread alike",
            "single": "one seed each",
        }
        return words[self.kind]

    def seeds_needed(self) -> int | None:
        """Seeds a group at which a true difference of this size is told with a probability of 0.8.

        The smallest n >= ((t_{1-α/2} + t_{power}) · s / δ)², both t with n-1 degrees of freedom
        where seeds are paired and 2(n-1) where not (Zar, Biostatistical Analysis, 5th ed. 2010,
        eqs. 7.10 and 8.22). None past 1000, or where there is no difference or no spread.
        """
        if not self.value or not self.deviation:
            return None
        ratio = (self.deviation / self.value) ** 2
        low, high = 1, MOST_SEEDS  # one is too few: it has no spread
        if not self._suffices(high, ratio):
            return None
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._suffices(middle, ratio) else (middle, high)
        return high

    def _suffices(self, seeds: int, ratio: float) -> bool:
        freedom = (seeds - 1) * (1 if self.kind == "paired" else 2)
        quantiles = t_quantile(freedom, self.confidence) + t_quantile(freedom, 2 * POWER - 1)
        return seeds >= quantiles**2 * ratio


def mean_difference(
    ours: Mapping[Hashable, float],
    theirs: Mapping[Hashable, float],
    confidence: float = CONFIDENCE,
) -> MeanDifference:
    """The mean of `ours` minus that of `theirs`, finite values by seed, at least one of each.

    Where the seeds are the same, each value is set against that of its own seed (paired t: they
    begin from the same weights and see the same batches). Else the groups may spread differently
    (Welch, The generalization of Student's problem, Biometrika 34, 1947), unless one of them has a
    single seed: it is then taken to spread as the other does.

    >>> found = mean_difference({0: 1.0, 1: 2.0, 2: 4.0}, {0: 0.5, 1: 1.0, 2: 3.5})
    >>> found.kind, round(found.value, 4), round(found.half_width, 4)
    ('paired', 0.6667, 0.7171)
    """
    n, m = len(ours), len(theirs)
    a, b = [*ours.values()], [*theirs.values()]
    value = fmean(a) - fmean(b)
    if n == m == 1:
        return MeanDifference(value, None, 0.0, (1, 1), "single", confidence)
    if ours.keys() == theirs.keys():
        apart = [ours[seed] - theirs[seed] for seed in ours]
        spread = deviation(apart)
        half = t_quantile(n - 1, confidence) * spread / math.sqrt(n)
        return MeanDifference(fmean(apart), half, spread, (n, m), "paired", confidence)
    if 1 in (n, m):
        spread = deviation(a if n > 1 else b)
        half = t_quantile(n + m - 2, confidence) * spread * math.sqrt(1 / n + 1 / m)
        return MeanDifference(value, half, math.sqrt(2) * spread, (n, m), "pooled", confidence)
    u, v = deviation(a) ** 2, deviation(b) ** 2
    half = t_quantile(_welch_freedom(u / n, v / m, n, m), confidence) * math.sqrt(u / n + v / m)
    return MeanDifference(value, half, math.sqrt(u + v), (n, m), "welch", confidence)


def _welch_freedom(u: float, v: float, n: int, m: int) -> float:
    """ν = (u + v)² / (u²/(n-1) + v²/(m-1)), u and v the squared standard errors of the means."""
    share = u / (u + v) if u + v else 0.5
    return 1 / (share**2 / (n - 1) + (1 - share) ** 2 / (m - 1))


def each_pair(groups: int, confidence: float = CONFIDENCE) -> tuple[float, int]:
    """(confidence of one interval, how many) for all pairs to hold at once (Bonferroni).

    All of them, as the two that are reported were picked by their results.

    >>> each_pair(2), each_pair(3)[1]
    ((0.95, 1), 3)
    """
    pairs = math.comb(groups, 2)
    return (confidence if pairs == 1 else 1 - (1 - confidence) / pairs), pairs

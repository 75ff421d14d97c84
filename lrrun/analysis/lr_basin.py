"""The bottom of a loss-against-LR curve from a few noisy runs, and how far it reaches.

Near its bottom the logarithm of the final loss is close to a parabola in x = log10 LR; one fitted
through all runs there averages their noise away, and its residuals say how large that noise is. Of
a grid with several seeds at every LR, lrrun.analysis.basin takes the means as they are, and fits
nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

Point = tuple[float, float]
"""(log10 LR, final loss) of a run; infinite where it diverged."""

REACH = 0.4
"""Decades on either side of the best LR that the parabola is fitted over."""

LEAST_CURVATURE = 0.2
"""Of ln loss over log10 LR: a loss that is 5% higher half a decade away, as flat as basins get."""

STEEP = 2.0
"""A loss above this multiple of the best is on another slope."""


@dataclass(frozen=True)
class Parabola:
    """y = a + c·(x - x0)², through the runs near the best; y is ln loss, or loss where some ≤ 0."""

    bottom: float
    level: float
    curvature: float
    spread: float
    """The standard deviation of a run's y around it: nan where there are no runs to spare."""
    logarithmic: bool


def means(points: Sequence[Point]) -> dict[float, float]:
    """The mean loss at each x, by x."""
    by_x: dict[float, list[float]] = {}
    for x, loss in points:
        by_x.setdefault(x, []).append(loss)
    return {x: float(np.mean(by_x[x])) for x in sorted(by_x)}


def bottom(points: Sequence[Point]) -> float:
    """The x where the loss is lowest: of the parabola, else of the best mean.

    >>> round(bottom([(-1.5, 0.4), (-1.25, 0.2), (-1.0, 0.1), (-0.75, 0.2), (-0.5, 0.5)]), 2)
    -1.0
    """
    fitted = parabola(points)
    return _best(points) if fitted is None else fitted.bottom


def parabola(points: Sequence[Point]) -> Parabola | None:
    """Fit by least squares to the runs within REACH of the best LR, up to and with the cliff.

    A loss above STEEP times the best counts as that, diverged or not: it says that the bottom is
    elsewhere, and no more. The parabola opens upwards, by LEAST_CURVATURE at least, so that runs
    which tell no LRs apart have their bottom in their middle; it is kept among the LRs that were
    tried, before the cliff. None where fewer than four runs at three LRs are left.
    """
    best, end = _best(points), cliff(points)
    level = means(points)[best]
    near = [(x, loss) for x, loss in points if abs(x - best) <= REACH and x <= end]
    xs = np.array([x for x, _ in near])
    if len(near) < 4 or len(set(xs.tolist())) < 3 or not math.isfinite(level):
        return None
    losses = np.minimum([loss for _, loss in near], level + (STEEP - 1) * abs(level))
    logarithmic = bool((losses > 0).all())
    y = np.log(losses) if logarithmic else losses
    c, b, a = np.polyfit(xs - best, y, 2)
    least = LEAST_CURVATURE * (1.0 if logarithmic else abs(level))
    if c < least:
        c = least
        b, a = np.polyfit(xs - best, y - c * (xs - best) ** 2, 1)
    turn = float(np.clip(best - b / (2 * c), xs.min(), xs[xs < end].max())) - best
    residuals = y - np.polyval((c, b, a), xs - best)
    spread = _spread(xs, y, residuals)
    return Parabola(best + turn, float(a + b * turn + c * turn**2), float(c), spread, logarithmic)


def _spread(xs: Floats, y: Floats, residuals: Floats) -> float:
    """The standard deviation of one run: from runs that share an LR, if two or more can be spared.

    Else from what is left of the fit of three numbers; nan where nothing is left.
    """
    same = [y[xs == x] for x in set(xs.tolist())]
    spare = len(y) - len(same)
    if spare >= 2:
        return math.sqrt(sum(float(((each - each.mean()) ** 2).sum()) for each in same) / spare)
    spare = len(y) - 3
    return math.sqrt(float(residuals @ residuals) / spare) if spare > 0 else math.nan


def cliff(points: Sequence[Point]) -> float:
    """The lowest x past the best mean at which a run diverged or lost all; infinity: none did."""
    best = _best(points)
    return min((x for x, loss in points if x > best and _steep(loss, points)), default=math.inf)


@dataclass(frozen=True)
class Basin:
    """Where to train: the LR at the bottom, and those that are statistically as good.

    `loss` is what the bottom has; `noise` the standard deviation of one run's loss there, from seed
    to seed (nan: too few runs to tell). The loss from `low` to `high` is within one `noise` of the
    bottom's.
    """

    lr: float
    low: float
    high: float
    loss: float
    noise: float


def basin(points: Sequence[Point]) -> Basin:
    """The basin of runs of one length; at least one of them is finite.

    Under y = a + c·(x - x0)² the loss is one noise s higher at x0 ± √(s/c). The interval is cut to
    the LRs that were tried, and ends before the cliff.
    """
    by_x = means(points)
    fitted = parabola(points)
    best = _best(points)
    if fitted is None:
        return Basin(10**best, 10**best, 10**best, by_x[best], math.nan)
    end = cliff(points)
    tried = [x for x, loss in by_x.items() if x < end and math.isfinite(loss)]
    reach = math.sqrt(fitted.spread / fitted.curvature) if fitted.spread > 0 else 0.0
    low = max(min(tried), fitted.bottom - reach)
    high = min(max(tried), fitted.bottom + reach)
    loss = math.exp(fitted.level) if fitted.logarithmic else fitted.level
    noise = loss * fitted.spread if fitted.logarithmic else fitted.spread
    return Basin(10**fitted.bottom, 10**low, 10**high, loss, noise)


def _steep(loss: float, points: Sequence[Point]) -> bool:
    """Is this loss so far above the best mean that it belongs to another slope?"""
    level = min(means(points).values())
    return not loss <= level + (STEEP - 1) * abs(level)


def _best(points: Sequence[Point]) -> float:
    """The x with the lowest mean loss; of equal ones the lowest x."""
    by_x = means(points)
    return min(by_x, key=lambda x: (by_x[x], x))

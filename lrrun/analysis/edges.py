"""Where a sweep should go on: the best LR at an end of those tried, told on a log scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lrrun.analysis.basin import best_index
from lrrun.analysis.points import Point

_HALF_DECADE = math.sqrt(10)


@dataclass(frozen=True)
class Edge:
    """The best LR is the smallest or the largest tried; `extend_to` is the next one to try."""

    side: Literal["smallest", "largest"]
    lr: float
    extend_to: float


def edges(points: Sequence[Point]) -> tuple[Edge, ...]:
    """The ends at which a curve's best LR stands: none, one, or both where one LR was tried.

    An LR below one that diverged is at no edge: what lies beyond is known. What to try next is one
    more step of the grid (its mean ratio; half a decade for a single LR), in as many digits as the
    LRs that were tried.

    >>> [edge.extend_to for edge in edges([Point(lr, (1 / lr,)) for lr in (0.1, 0.3, 1.0)])]
    [3.0]
    """
    best = best_index(points)
    if best is None:
        return ()
    ratio, digits = _ratio(points), max(_digits(point.lr) for point in points)
    lr, found = points[best].lr, []
    if best == 0:
        found.append(Edge("smallest", lr, _written(lr / ratio, digits, lr)))
    if best == len(points) - 1:
        found.append(Edge("largest", lr, _written(lr * ratio, digits, lr)))
    return tuple(found)


def diverges_at(points: Sequence[Point]) -> float | None:
    """The lowest LR from which on a seed diverged at every LR tried; None where the largest held.

    >>> diverges_at([Point(lr, (loss,)) for lr, loss in [(0.1, math.inf), (1, 2.0), (3, math.inf)]])
    3
    """
    lowest = None
    for point in reversed(points):
        if not point.lost:
            break
        lowest = point.lr
    return lowest


def diverged_range(curves: Sequence[Sequence[Point]]) -> tuple[float, float] | None:
    """The LRs from which on some curve diverges, up to the largest tried; None where none does.

    It begins half way (in log LR) between the last LR that held and the first that did not.
    """
    starts = []
    for points in curves:
        first = diverges_at(points)
        if first is not None:
            held = [point.lr for point in points if point.lr < first]
            starts.append(math.sqrt(held[-1] * first) if held else first)
    return (min(starts), max(points[-1].lr for points in curves if points)) if starts else None


def step_decades(points: Sequence[Point]) -> float | None:
    """The mean distance between neighbouring LRs, in decades; None for fewer than two."""
    return math.log10(_ratio(points)) if len(points) > 1 else None


def _ratio(points: Sequence[Point]) -> float:
    if len(points) < 2:
        return _HALF_DECADE
    return float((points[-1].lr / points[0].lr) ** (1 / (len(points) - 1)))


def _digits(lr: float) -> int:
    """The significant digits that it is written with, at most 3."""
    return next((n for n in (1, 2) if math.isclose(_rounded(lr, n), lr)), 3)


def _written(value: float, digits: int, other: float) -> float:
    """`value` in so many digits, or in as many more as tell it from `other`."""
    roundings = (_rounded(value, n) for n in range(digits, 10))
    return next((each for each in roundings if each != other), value)


def _rounded(value: float, digits: int) -> float:
    return float(f"{value:.{digits}g}")

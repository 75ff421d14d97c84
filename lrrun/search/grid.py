"""Points of a search: every combination of the axes' values, or draws from them.

A point gives a value to every axis. The seed is no dimension to search but a repetition: a point is
drawn once and trained with every seed, so that all seeds see the same points.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from lrrun.errors import UsageError
from lrrun.search.axes import Axis, written
from lrrun.search.spans import Span

Point = Mapping[str, Any]

SEED = "seed"
"""The axis that repeats a point rather than moving it."""

MAX_TRIALS = 10_000


def grid(axes: Sequence[Axis]) -> list[dict[str, Any]]:
    """Every combination; the first axis varies slowest, and the seed slowest of all.

    A sweep that is cut short has then seen the whole range with the first seed. Raises ConfigError
    for a span without a count, UsageError for more than MAX_TRIALS.
    """
    ordered = sorted(axes, key=lambda axis: axis.key != SEED)
    values = [axis.values() for axis in ordered]
    check_size(math.prod(len(each) for each in values))
    keys = [axis.key for axis in axes]
    found = (
        dict(zip((axis.key for axis in ordered), each, strict=True))
        for each in itertools.product(*values)
    )
    return [{key: point[key] for key in keys} for point in found]


def check_size(trials: int) -> None:
    """Raise UsageError for a sweep that is too large."""
    if trials > MAX_TRIALS:
        raise UsageError(
            f"{trials:,} trials; a sweep has at most {MAX_TRIALS:,}: fewer values, or --random N"
        )


def seeds_of(axes: Sequence[Axis]) -> tuple[Any, ...]:
    """The seeds that every point is repeated with; () where the seed is not swept."""
    return next((axis.values() for axis in axes if axis.key == SEED), ())


def repeated(points: Sequence[Point], axes: Sequence[Axis]) -> list[dict[str, Any]]:
    """Every point with every seed; the seed varies slowest."""
    seeds = seeds_of(axes)
    keys = [axis.key for axis in axes]
    if not seeds:
        return [dict(point) for point in points]
    full = ({**point, SEED: seed} for seed in seeds for point in points)
    return [{key: point[key] for key in keys} for point in full]


def drawn(axes: Sequence[Axis], count: int, seed: int) -> list[dict[str, Any]]:
    """`count` different points, uniform over the axes: over a span in its own spacing.

    The first points are the same whatever the count, so that a search can be widened. Raises
    UsageError where the axes do not have so many points.
    """
    check_points(axes, count)
    searched = [axis for axis in axes if axis.key != SEED]
    return list(itertools.islice(_draws(searched, np.random.default_rng(seed)), count))


def check_points(axes: Sequence[Axis], count: int) -> None:
    """Raise UsageError where the axes have fewer points than are to be drawn."""
    searched = [axis for axis in axes if axis.key != SEED]
    if any(axis.span and axis.span.spacing != "whole" for axis in searched):
        return
    size = math.prod(len(axis.values()) for axis in searched)
    if count > size:
        points = f"{size:,} point{'' if size == 1 else 's'}"
        raise UsageError(f"{count:,} points are asked for, and these axes have {points}")


def _draws(axes: Sequence[Axis], rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    """New points without end."""
    seen: set[tuple[str, ...]] = set()
    while True:
        point = {axis.key: _draw(axis, float(rng.random())) for axis in axes}
        if identity(point) not in seen:
            seen.add(identity(point))
            yield point


def identity(point: Point) -> tuple[str, ...]:
    """What tells one point from another."""
    return tuple(f"{key}={written(value)}" for key, value in point.items())


def _draw(axis: Axis, share: float) -> Any:
    if isinstance(axis.span, Span):
        return axis.span.at(share)
    values = axis.values()
    return values[math.floor(share * len(values))]

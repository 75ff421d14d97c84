"""The steps of a run at which the loop must come up for air, known before it begins."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lrrun.units import Length, Units

Steps = NDArray[np.int64]

NEVER: Steps = np.empty(0, dtype=np.int64)


def every(length: Length, units: Units) -> Steps:
    """The numbers of updates done, rising, at which another `length` is over."""
    if units.rows_before is None:
        exact = max(1.0, units.exact_steps(length))
        counts = np.arange(1, int(units.total_steps / exact) + 1)
        steps = np.floor(counts * exact + 0.5).astype(np.int64)
        return np.unique(np.minimum(steps, units.total_steps))
    found: list[int] = []
    while not found or found[-1] < units.total_steps:
        begin = found[-1] if found else 0
        found.append(begin + max(1, units.steps(length, begin)))
    return np.array(found, dtype=np.int64)


def places(lengths: Sequence[Length], units: Units) -> Steps:
    """The numbers of updates done after each of these lengths from the run's begin, rising."""
    return np.unique(np.array([units.steps(each) for each in lengths], dtype=np.int64))


def after(steps: Steps, step: int) -> int | None:
    """The first of `steps` past `step`, or None.

    >>> after(np.array([10, 20]), 10)
    20
    """
    k = bisect_right(steps, step)
    return int(steps[k]) if k < len(steps) else None


def among(steps: Steps, step: int) -> bool:
    """Is `step` one of them?"""
    k = bisect_left(steps, step)
    return k < len(steps) and bool(steps[k] == step)

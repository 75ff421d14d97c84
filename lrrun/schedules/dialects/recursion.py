"""Curves that are computed step by step, each value from the one before."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lrrun.schedules.base import Array, ScheduleEnded


class Recursion:
    """A curve whose values are kept, and computed as far as they are asked for.

    `next_lr(t, lr)` gives the LR of step t from the LR of the step before (nan before step 0), and
    is called for t = 0, 1, 2, … once each. Where it fails in its arithmetic, that step and those
    after it raise ScheduleEnded.

    >>> halving = Recursion(lambda t, lr: lr / 2 if t else 1.0)
    >>> halving(np.array([3.0, 1.0]))
    array([0.125, 0.5  ])
    """

    def __init__(self, next_lr: Callable[[int, float], float]) -> None:
        self._next_lr = next_lr
        self._lrs: list[float] = []
        self._ended: str | None = None

    def __call__(self, steps: Array) -> Array:
        """The LR at the part's own steps; raises ScheduleEnded."""
        self._grow(int(np.max(steps, initial=-1)) + 1)
        index = steps.astype(np.int64)
        lrs = np.fromiter((self._lrs[k] for k in index.flat), np.float64, index.size)
        return lrs.reshape(steps.shape)

    def _grow(self, length: int) -> None:
        while len(self._lrs) < length:
            step = len(self._lrs)
            if self._ended is None:
                try:
                    self._lrs.append(self._next_lr(step, self._lrs[-1] if step else np.nan))
                    continue
                except (ArithmeticError, ValueError) as error:
                    self._ended = f"no LR from step {step} of its clock on: {error}"
            raise ScheduleEnded(self._ended)

"""Axes of terminal plots: where values fall, and which of them get a label."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Axis:
    """An axis from `low` to `high`, linear or logarithmic; `at` maps values to 0..1.

    A `whole` one counts something, such as steps: only whole numbers are labelled.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False

    @classmethod
    def around(cls, values: Sequence[Floats], log: bool = False, top: float | None = None) -> Axis:
        """The axis that shows all finite values (positive ones if `log`), up to `top`."""
        parts = [v[np.isfinite(v) & ((v > 0) | (not log))] for v in values]
        shown = np.concatenate([*parts, np.empty(0)])
        if not shown.size:
            return cls(0.1, 1.0, log) if log else cls(0.0, 1.0)
        low, high = float(shown.min()), float(shown.max())
        if top is not None:
            high = max(low, min(high, top))
        if high - low <= 1e-12 * abs(high):  # a constant: drawn at the upper edge
            return cls(high / 10, high, True) if log else cls(min(0.0, high - 1.0), high or 1.0)
        return cls(low, high, log)

    @classmethod
    def along(cls, values: Sequence[Floats], log: bool = False) -> Axis:
        """The axis for x: begun at 0 where that is close, whole where all of it is counted."""
        axis = cls.around(values, log)
        if log:
            return axis
        finite = np.concatenate([*(v[np.isfinite(v)] for v in values), np.empty(0)])
        whole = finite.size > 0 and bool(np.all(finite == np.floor(finite)))
        if whole and finite.min() == finite.max():
            axis = cls(float(finite[0]), float(finite[0]) + 1)
        return replace(axis.from_zero(), whole=whole)

    def from_zero(self) -> Axis:
        """The axis begun at 0 where it begins close to it, as the first epoch's end does."""
        return replace(self, low=0.0) if 0 < self.low <= 0.1 * self.high else self

    def at(self, values: Floats) -> Floats:
        """Position of each value, 0 at `low` and 1 at `high`; nan where it has no place."""
        with np.errstate(divide="ignore", invalid="ignore"):
            scaled = np.log10(values) if self.log else np.asarray(values, float)
        low, high = (math.log10(end) if self.log else end for end in (self.low, self.high))
        return np.where(np.isfinite(scaled), (scaled - low) / (high - low), np.nan)

    def ticks(self, most: int) -> list[float]:
        """About `most` round values within the axis, rising."""
        if self.log:
            ticks = self._log_ticks(most)
            if len(ticks) >= 2:
                return ticks
        return self._round_ticks(most)

    def _round_ticks(self, most: int) -> list[float]:
        rough = (self.high - self.low) / most
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(s * power for s in (1, 2, 5, 10) if s * power >= rough * 0.999)
        step = max(step, 1.0) if self.whole else step
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [float(f"{k * step:.12g}") for k in range(first, last + 1)]

    def _log_ticks(self, most: int) -> list[float]:
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        for leads in ((1, 2, 5), (1, 3), (1,)):
            ticks = [lead * 10.0**power for power in range(first, last + 1) for lead in leads]
            inside = [tick for tick in ticks if self.low * 0.999 <= tick <= self.high * 1.001]
            if len(inside) <= most:
                return inside
        stride = math.ceil(len(inside) / most)
        return inside[::stride]

"""K divergence watches as one: what is nothing to worry about costs K numbers, not K calls."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lrrun.training.watch import BETA, DivergenceWatch, Trouble

_MARGIN = 1e-9
"""Losses this close to a limit (relative) are left to the replica's own watch to judge."""

Losses = NDArray[np.float64]


class Watches:
    """The watches of K replicas, whose numbers are kept in arrays and written back where
    somebody asks for them.

    A replica's own DivergenceWatch has the last word on every loss that is near a limit, so that
    what it says, and when, is what it would say of a run alone.
    """

    def __init__(self, watches: Sequence[DivergenceWatch]) -> None:
        self.watches = list(watches)
        self._factor = np.array([each.factor for each in watches])
        spikes = [np.inf if each.spike is None else each.spike for each in watches]
        self._spike = np.array(spikes)
        self._spikes = bool(np.isfinite(spikes).any())
        self._first = np.array([np.nan if each.first is None else each.first for each in watches])
        self._average = np.array([each.average for each in watches])
        self._count = np.array([each.count for each in watches])
        self._left = BETA ** self._count.astype(np.float64)
        self._bars = self._bars_of(self._first)
        self._begun = not np.isnan(self._first).any()

    @property
    def limits(self) -> Losses:
        """Above these the next losses are spikes."""
        if not self._spikes:
            return self._spike
        with np.errstate(invalid="ignore"):
            smoothed = self._average / (1 - self._left)
        return np.where(smoothed > 0, self._spike * smoothed, np.inf)

    def see(
        self, losses_K: Losses, active_K: NDArray[np.bool_], limits: Losses | None = None
    ) -> dict[int, Trouble]:
        """Take the next loss of every active replica; what is wrong, by replica.

        `limits` take the place of those of this moment.
        """
        limits_K = self.limits if limits is None else limits
        first, bars = self._first, self._bars
        if not self._begun:
            first = np.where(np.isnan(first), losses_K, first)
            bars = self._bars_of(first)
        average = BETA * self._average + (1 - BETA) * losses_K
        left = self._left * BETA
        fine = average <= bars * (1 - left)
        if self._spikes or limits is not None:
            fine &= losses_K <= limits_K * (1 - _MARGIN)
        plain = fine & active_K
        if plain.all():
            self._average, self._left = average, left
            self._count += 1
            if not self._begun:
                self._first, self._bars, self._begun = first, bars, True
            return {}
        self._first = np.where(plain, first, self._first)
        self._average = np.where(plain, average, self._average)
        self._left = np.where(plain, left, self._left)
        self._count += plain
        near = np.flatnonzero(active_K & ~fine).tolist()
        judged = {k: self._judge(k, losses_K, limits) for k in near}
        self._bars = self._bars_of(self._first)
        return {k: trouble for k, trouble in judged.items() if trouble is not None}

    def _bars_of(self, first: Losses) -> Losses:
        """Below these the averages of losses are no divergence."""
        return self._factor * np.abs(first) * (1 - _MARGIN)

    def save(self, k: int) -> DivergenceWatch:
        """Write a replica's numbers back into its own watch."""
        watch = self.watches[k]
        first = float(self._first[k])
        watch.first = None if first != first else first
        watch.average, watch.count = float(self._average[k]), int(self._count[k])
        return watch

    def _judge(self, k: int, losses_K: Losses, limits: Losses | None) -> Trouble | None:
        """Have the replica's own watch take its loss."""
        watch = self.save(k)
        trouble = watch.see(float(losses_K[k]), None if limits is None else float(limits[k]))
        self._first[k] = np.nan if watch.first is None else watch.first
        self._average[k], self._count[k] = watch.average, watch.count
        self._left[k] = BETA**watch.count
        return trouble

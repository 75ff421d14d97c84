"""What the schedules of one replica say, in columns, computed far ahead.

Shape suffixes: S steps, G param groups.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lrrun.batches import Batches
from lrrun.errors import LrrunError
from lrrun.schedules.base import Array
from lrrun.training.rates import Rates
from lrrun.training.trainee import Trainee

AHEAD = 4096
"""Steps that are evaluated at once: a schedule's price is the call, hardly the steps."""


@dataclass(frozen=True)
class Columns:
    """The LRs (S, G), and what is driven beside them by name (S,), of the steps from `first` on."""

    first: int
    lr: Array
    driven: Mapping[str, Array]

    def between(self, first: int, last: int) -> Columns:
        """Those of the steps `first` to `last` - 1."""
        part = slice(first - self.first, last - self.first)
        driven = {name: values[part] for name, values in self.driven.items()}
        return Columns(first, self.lr[part], driven)

    def reach(self, first: int, last: int) -> bool:
        """Are all of these steps among them?"""
        return self.first <= first and last <= self.first + len(self.lr)


class Ahead:
    """The columns of a trainee, kept until a schedule answers to a metric."""

    def __init__(self, trainee: Trainee, plan: Batches, total_steps: int) -> None:
        self.trainee = trainee
        self.plan = plan if "batch_size" in trainee.driven else None
        self.total_steps = total_steps
        self._known: Columns | None = None

    def between(self, first: int, last: int) -> Columns:
        """Of the steps `first` to `last` - 1; raises what a schedule raises that has ended."""
        if self._known is None or not self._known.reach(first, last):
            try:
                self._known = self._evaluated(first, min(self.total_steps, last + AHEAD))
            except LrrunError:
                return self._evaluated(first, last)
        return self._known.between(first, last)

    def forget(self) -> None:
        """A schedule has changed."""
        self._known = None

    def _evaluated(self, first: int, last: int) -> Columns:
        trainee = self.trainee
        rates = Rates.of(trainee.schedules, trainee.co_schedules, self.plan, first, last)
        driven = {name: np.array(values) for name, values in rates.driven.items()}
        return Columns(first, np.array(rates.lr), driven)

"""Which training rows every update takes: its epoch, and its place in that epoch's order.

A pure function of the update's index, so that a position in the data needs no state. An update
never reaches over the end of an epoch: the last one takes the rows that are left.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


class Batches(Protocol):
    """The rows of every update of a run."""

    def at(self, step: int) -> tuple[int, int, int]:
        """(epoch from 0, first row in the epoch's order, number of rows) of update `step`."""
        ...

    def epoch_end(self, step: int) -> int:
        """The number of updates done when the epoch of update `step` is over."""
        ...


@dataclass(frozen=True, slots=True)
class EvenBatches:
    """Every update takes `size` of an epoch's `rows`.

    >>> EvenBatches(rows=10, size=4).at(5)
    (1, 8, 2)
    """

    rows: int
    size: int

    @property
    def steps_per_epoch(self) -> int:
        """Updates in an epoch, the last, partial one counted."""
        return -(-self.rows // self.size)

    def at(self, step: int) -> tuple[int, int, int]:
        """The rows of update `step`."""
        epoch, index = divmod(step, self.steps_per_epoch)
        begin = index * self.size
        return epoch, begin, min(self.size, self.rows - begin)

    def epoch_end(self, step: int) -> int:
        """Where the epoch of update `step` ends."""
        return (step // self.steps_per_epoch + 1) * self.steps_per_epoch


@dataclass(frozen=True, slots=True)
class RampedBatches:
    """Updates of changing size: one entry an update, T of them, and T+1 in `rows_before`."""

    rows: int
    epochs: Rows
    begins: Rows
    counts: Rows
    rows_before: Rows
    """Training rows seen before each update, and at the end of the run."""

    @classmethod
    def plan(
        cls,
        rows: int,
        size_at: Callable[[int], int],
        total_steps: int | None = None,
        total_rows: int | None = None,
    ) -> RampedBatches:
        """Lay out updates until `total_steps` are made or `total_rows` are seen.

        `size_at` gives the size of an update that is made after so many rows.

        >>> RampedBatches.plan(10, lambda seen: 2 if seen < 4 else 4, total_rows=14).counts.tolist()
        [2, 2, 4, 2, 4]
        """
        counts: list[int] = []
        seen = 0
        while len(counts) != total_steps and (total_rows is None or seen < total_rows):
            count = min(size_at(seen), rows - seen % rows)
            counts.append(count)
            seen += count
        before = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
        starts = before[:-1]
        return cls(rows, starts // rows, starts % rows, np.array(counts, dtype=np.int64), before)

    def at(self, step: int) -> tuple[int, int, int]:
        """The rows of update `step`."""
        return int(self.epochs[step]), int(self.begins[step]), int(self.counts[step])

    def epoch_end(self, step: int) -> int:
        """Where the epoch of update `step` ends."""
        return int(np.searchsorted(self.epochs, self.epochs[step], side="right"))

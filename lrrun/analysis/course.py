"""The steps of a run reduced to what is shown of them, whatever their number."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from lrrun.analysis.curves import Thinning
from lrrun.runlog.summary import lr_columns
from lrrun.runlog.table import Floats


@dataclass(frozen=True)
class Course:
    """steps.csv in short, with the LR of the first param group.

    `rows` counts its rows, `first` and `last` are the steps of its ends (-1 without rows),
    `total_lr` is the sum and `peak_lr` the highest of the LRs (nan without any). `lr` and `loss`
    are curves (x in steps, y), thinned where they are long; a log without losses has nan for them.
    """

    rows: int
    first: int
    last: int
    total_lr: float
    peak_lr: float
    lr: tuple[Floats, Floats]
    loss: tuple[Floats, Floats]

    def lr_sum(self, updates: int) -> float | None:
        """Σ lr over all of a run's updates; None where not every update was logged."""
        every = self.rows == updates > 0 and (self.first, self.last) == (0, updates - 1)
        return self.total_lr if every and not math.isnan(self.total_lr) else None


def follow(blocks: Iterable[Mapping[str, Floats]]) -> Course:
    """Reduce the columns of steps.csv, which come in blocks of rows.

    >>> course = follow([{"step": np.array([0.0, 1.0]), "lr": np.array([0.5, 0.25])}])
    >>> course.lr_sum(2), course.lr_sum(3), course.peak_lr
    (0.75, None, 0.5)
    """
    rows = 0
    ends: list[int] = []
    sums: list[float] = []
    peaks: list[float] = []
    lr_curve, loss_curve = Thinning(), Thinning()
    for columns in blocks:
        steps = columns["step"]
        if not steps.size:
            continue
        unknown = np.full(steps.size, np.nan)
        lr = next((columns[name] for name in lr_columns(columns)), unknown)
        rows += steps.size
        ends = [*ends[:1], int(steps[0]), int(steps[-1])]
        sums.append(float(np.sum(lr)))
        peaks.append(float(np.max(lr)))
        lr_curve.add(steps, lr)
        loss_curve.add(steps, columns.get("loss", unknown))
    return Course(
        rows=rows,
        first=ends[0] if ends else -1,
        last=ends[-1] if ends else -1,
        total_lr=math.fsum(sums) if sums else math.nan,
        peak_lr=max(peaks) if peaks else math.nan,
        lr=lr_curve.line(),
        loss=loss_curve.line(),
    )

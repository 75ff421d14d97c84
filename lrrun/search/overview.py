"""The sweeps that there are, each in a few numbers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lrrun.errors import LrrunError
from lrrun.runlog.names import sweep_folders
from lrrun.runlog.sweeps import Row, read_rows
from lrrun.search.plan import Plan
from lrrun.search.trials import loss_of


@dataclass(frozen=True)
class Overview:
    """A sweep in a few numbers; `problem` says why one cannot be read.

    `best` is the lowest loss of a whole run, nan where none completed; `counts` the trials that
    have ended, by status.
    """

    name: str
    created: str = ""
    axes: tuple[str, ...] = ()
    total: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    metric: str = ""
    best: float = math.nan
    problem: str = ""

    @property
    def ended(self) -> int:
        """How many trials have ended."""
        return sum(self.counts.values())

    @property
    def status(self) -> str:
        """Whether all trials have ended; a sweep that is going on is unfinished too."""
        return (
            "unreadable" if self.problem else "done" if self.ended >= self.total else "unfinished"
        )


def overviews(runs_dir: Path) -> list[Overview]:
    """Every sweep in `runs_dir`, the oldest first; one that is broken never hides the others."""
    return sorted(map(_overview, sweep_folders(runs_dir)), key=lambda each: each.created)


def _overview(path: Path) -> Overview:
    try:
        plan, rows = Plan.read(path), read_rows(path)
        total = plan.design.total()
    except LrrunError as error:
        return Overview(path.name, problem=str(error))
    losses = [loss_of(row, plan.metrics[0]) for row in rows if _whole(row)]
    best = min(losses, default=math.inf)
    return Overview(
        name=path.name,
        created=plan.created,
        axes=tuple(axis.key for axis in plan.design.axes),
        total=total,
        counts=dict(Counter(row.status for row in rows)),
        metric=plan.metrics[0],
        best=best if math.isfinite(best) else math.nan,
    )


def _whole(row: Row) -> bool:
    """Is it a whole run, not a rung of halving?"""
    return float(row.values.get("scale", 1)) == 1

"""The tables of this benchmark, from its results; nothing is trained.

    python benchmarks/find/report.py [TASK...]

prints Markdown: a table a task, a row a rule. `right` counts the searches whose LR has a mean final
val_loss of at most the grid's lowest mean plus one standard deviation from seed to seed, pooled
over the grid's best LR and its neighbours. `excess` is how far it is above the lowest, in such
deviations. The LR that lrrun found was trained anew; the losses of the other rules' answers are
interpolated in the grid.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from peers import RULES as PEERS
from tasks import RESULTS, asked

from lrrun.analysis.lr_rules import RULES

Floats = NDArray[np.float64]
Row = Mapping[str, object]

GRID_RUNS = 39
"""What a grid of 13 LRs and 3 seeds costs."""

HIGHEST = 999.0
"""A larger excess is shown as this one."""


@dataclass(frozen=True)
class Truth:
    """A task's grid: LRs [L], losses [L, seeds]."""

    lr: Floats
    loss: Floats

    @classmethod
    def read(cls, task: str) -> Truth:
        rows = _rows(f"{task}-grid.csv")
        lrs = sorted({float(row["lr"]) for row in rows})
        by_lr = [[float(row["val_loss"]) for row in rows if float(row["lr"]) == lr] for lr in lrs]
        return cls(np.array(lrs), np.array(by_lr))

    @property
    def mean(self) -> Floats:
        return self.loss.mean(axis=1)

    @property
    def best(self) -> int:
        return int(np.argmin(self.mean))

    @property
    def spread(self) -> float:
        """The standard deviation from seed to seed: pooled over the best LR and its neighbours."""
        near = self.loss[max(0, self.best - 1) : self.best + 2]
        kept = [row for row in near if row.mean() <= 2 * self.mean[self.best]]
        return math.sqrt(float(np.mean([row.var(ddof=1) for row in kept])))

    def excess(self, loss: float) -> float:
        """How far a loss is above the grid's lowest, in standard deviations."""
        return float((loss - self.mean[self.best]) / self.spread)

    def at(self, lr: float) -> float:
        """The mean loss at an LR, on straight lines over log LR; infinity beyond the grid."""
        if not self.lr[0] <= lr <= self.lr[-1]:
            return math.inf
        return float(np.interp(math.log(lr), np.log(self.lr), np.minimum(self.mean, 1e9)))


def _rows(name: str) -> list[dict[str, str]]:
    with (RESULTS / name).open() as handle:
        return list(csv.DictReader(handle))


def report(task: str) -> Iterator[str]:
    """The lines of a task's table."""
    truth, rows = Truth.read(task), _rows(f"{task}-found.csv")
    best = truth.lr[truth.best]
    yield (
        f"**{task}**: best LR of the grid {best:.3g}, val_loss {truth.mean[truth.best]:.4f}, "
        f"± {truth.spread:.4f} from seed to seed"
    )
    yield ""
    yield "| rule | right | median LR / best | median excess | worst |"
    yield "| --- | --: | --: | --: | --: |"
    yield _line("lrrun find", _column(rows, "lr"), _column(rows, "excess_in_sd"), best)
    for rule in (*RULES, *PEERS):
        lrs = _column(rows, rule)
        yield _line(rule, lrs, np.array([truth.excess(truth.at(lr)) for lr in lrs]), best)
    runs, seconds = _column(rows, "runs"), _column(rows, "seconds_in_runs")
    yield ""
    yield (
        f"A search cost the steps of {runs.mean():.1f} runs, at most {runs.max():.1f} "
        f"({runs.max() / GRID_RUNS:.0%} of a grid of {GRID_RUNS}), and the time of "
        f"{np.median(seconds):.1f}, at most {seconds.max():.1f}."
    )
    yield ""


def _column(rows: Sequence[Mapping[str, str]], name: str) -> Floats:
    return np.array([float(row[name] or "nan") for row in rows])


def _line(rule: str, lrs: Floats, excess: Floats, best: float) -> str:
    shown = np.minimum(np.nan_to_num(excess, nan=HIGHEST, posinf=HIGHEST), HIGHEST)
    return (
        f"| {rule} | {int((shown <= 1).sum())}/{len(lrs)} | {np.nanmedian(lrs) / best:.2g} "
        f"| {np.median(shown):.1f} | {shown.max():.1f} |"
    )


def main() -> None:
    for task in asked():
        print("\n".join(report(task)))


if __name__ == "__main__":
    main()

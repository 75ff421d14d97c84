"""How a comparison looks: what differs, what came out, the curves, one sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from lrrun.analysis.compare import Comparison, Difference, RunView, caution, verdict
from lrrun.analysis.curves import ceiling, spans_decades
from lrrun.render.figures import add_legend, new_figure, save, style
from lrrun.render.numbers import count, duration, metric, number, rates
from lrrun.render.plots import Curve, line_plot
from lrrun.render.tables import STATUS_COLORS, Column, print_columns, print_table
from lrrun.render.terminal import printable
from lrrun.render.values import describe

_RUNS_AS_COLUMNS = 3


def print_comparison(
    console: Console, comparison: Comparison, order: Sequence[int] | None = None
) -> None:
    """Print the differing keys, the results of the runs in `order`, and the verdict over all.

    `order` holds indices, all by rank if None; runs that are not in it are counted.
    """
    order = comparison.ranking if order is None else order
    names = [(comparison.runs[index].name, index) for index in order]
    if len(comparison.runs) > 1:
        print_differences(console, comparison.differences, names)
        console.print()
    print_runs(console, comparison, order)
    if rest := set(range(len(comparison.runs))).difference(order):
        ends = Counter(comparison.runs[index].status for index in rest)
        counted = ", ".join(f"{count(number)} {status}" for status, number in ends.most_common())
        console.print(f"and {count(len(rest))} more ({counted}); --all shows them", style="dim")
    console.print()
    console.print(printable(verdict(comparison)), style="bold")
    if note := caution(comparison):
        console.print(printable(note), style="dim")


def print_runs(console: Console, comparison: Comparison, order: Sequence[int]) -> None:
    """The results of the runs in `order`, and why any of them did not complete."""
    print_table(console, _result_columns(comparison, order))
    for run in (comparison.runs[index] for index in order):
        if run.status != "completed":
            console.print(printable(f"{run.name} {run.status}: {run.sentence or 'no end yet'}"))


def print_differences(
    console: Console, differences: Sequence[Difference], shown: Sequence[tuple[str, int]]
) -> None:
    """The config keys that differ, in (name, index) of each: few stand as columns, many as rows."""
    if not differences:
        console.print("The configs are equal.")
        return
    names = [name for name, _ in shown]
    values = [[describe(each.values[index]) for _, index in shown] for each in differences]
    keys = [each.key for each in differences]
    if len(names) <= _RUNS_AS_COLUMNS or len(keys) > len(names):
        columns = [Column("differs in", keys)]
        cells = zip(*values, strict=True)
        columns += [Column(name, cell) for name, cell in zip(names, cells, strict=True)]
    else:
        columns = [Column("run", names), *(map(Column, keys, values))]
    print_columns(console, columns)


def _result_columns(comparison: Comparison, order: Sequence[int]) -> list[Column]:
    runs = [comparison.runs[index] for index in order]
    rank = {index: place for place, index in enumerate(comparison.ranking, start=1)}
    columns = [
        Column("#", [str(rank[index]) for index in order], "right"),
        Column("run", [run.name for run in runs], style="cyan"),
    ]
    main = comparison.metric
    for name in comparison.metrics():
        if name == "train_loss" and name != main:
            last = [metric(run.summary.last.get(name)) for run in runs]
            columns.append(Column(f"{name}\nlast", last, "right", keep=3))
            continue
        keep = 9 if name == main else 5
        columns.append(Column(f"{name}\nbest", _bests(runs, name), "right", keep=keep))
        last = [metric(run.summary.last.get(name)) for run in runs]
        columns.append(Column(f"{name}\nlast", last, "right", keep=keep - 1))
        if name == main:
            columns += _at_best(runs, name)
    sums = ["-" if run.lr_sum is None else number(run.lr_sum) for run in runs]
    return [
        *columns,
        Column("lr\nsum", sums, "right", keep=2),
        Column("\nsteps", [str(run.summary.steps) for run in runs], "right", keep=4),
        Column("\ntime", [duration(run.summary.seconds) for run in runs], "right", keep=7),
        Column("\nstatus", [run.status for run in runs], keep=6, colors=STATUS_COLORS),
    ]


def _bests(runs: Sequence[RunView], name: str) -> list[str]:
    bests = [run.summary.best.get(name) for run in runs]
    return ["-" if best is None else metric(best.value) for best in bests]


def _at_best(runs: Sequence[RunView], name: str) -> list[Column]:
    bests = [run.summary.best.get(name) for run in runs]
    return [
        Column("at\nepoch", ["-" if b is None else str(b.epoch) for b in bests], "right", keep=8),
        Column("at\nlr", ["-" if b is None else rates(b.lr) for b in bests], "right", keep=8),
    ]


def print_loss_and_lr(
    console: Console, title: str, losses: Sequence[Curve], lrs: Sequence[Curve]
) -> None:
    """The two plots of every comparison: the loss curves above, the LRs that made them below."""
    if any(len(curve.x) for curve in losses):
        top, log_y = _loss_scale(losses)
        console.print()
        console.print(line_plot(losses, console, title=title, log_y=log_y, top=top))
    if any(len(curve.x) for curve in lrs):
        console.print()
        console.print(line_plot(lrs, console, title="learning rate", log_y=_peaks_differ(lrs)))


def save_loss_and_lr(file: Path, title: str, losses: Sequence[Curve], lrs: Sequence[Curve]) -> None:
    """Draw what `print_loss_and_lr` prints into `file` (.png or .svg); raises as `new_figure`."""
    figure, (left, right) = new_figure(file, panels=2)
    top, log_losses = _loss_scale(losses)
    panels = ((left, losses, title, log_losses), (right, lrs, "learning rate", _peaks_differ(lrs)))
    for axes, curves, name, log_y in panels:
        for k, curve in enumerate(curves):
            axes.plot(curve.x, curve.y, label=printable(curve.label), linewidth=1, **style(k))
            if curve.band is not None:
                axes.fill_between(curve.x, *curve.band, color=style(k)["color"], alpha=0.2, lw=0)
        axes.set_yscale("log" if log_y else "linear")
        axes.set_xlabel("step")
        axes.set_ylabel(name, parse_math=False)
        axes.grid(alpha=0.3)
    if top is not None:
        left.set_ylim(top=top)
    add_legend(left)
    save(figure, file)


def _loss_scale(losses: Sequence[Curve]) -> tuple[float | None, bool]:
    """Where to cut loss curves off (None: nowhere), and whether they need a log axis."""
    values: list[NDArray[np.float64]] = [curve.y for curve in losses]
    top = ceiling(values, [curve.y for curve in losses if not curve.later])
    return top, spans_decades([np.minimum(y, np.inf if top is None else top) for y in values])


def _peaks_differ(lrs: Sequence[Curve]) -> bool:
    """Do the peaks of the LRs lie so far apart that they need a log axis?"""
    return spans_decades([np.sort(curve.y)[-1:] for curve in lrs])

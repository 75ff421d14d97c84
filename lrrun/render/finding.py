"""How a found learning rate looks: the range test with its rules, the runs that confirm it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.text import Text

from lrrun.analysis.lr_basin import means
from lrrun.analysis.lr_rules import RULES
from lrrun.analysis.lr_search import Result
from lrrun.render.figures import new_figure, save
from lrrun.render.numbers import count, metric, number
from lrrun.render.plots import Curve, line_plot
from lrrun.render.runs import moment
from lrrun.render.tables import Column, print_columns, print_table
from lrrun.render.terminal import printable
from lrrun.search.finding import Finding

Floats = NDArray[np.float64]

TOP = 1.5
"""Losses above this multiple of what the test began with are cut off: the loss has gone."""

RULE_COLORS = dict(zip(RULES, ("C0", "C1", "black", "C3", "C4"), strict=True))
"""In pictures; green is what was found."""


def print_finding(console: Console, finding: Finding, plots: bool = True) -> None:
    """Print curves, rules, runs, and at last the answer and what to paste."""
    if plots:
        _print_curve(console, finding)
    _print_rules(console, finding)
    if finding.results:
        if plots:
            _print_runs(console, finding)
        console.print()
    _print_answer(console, finding)


def _print_curve(console: Console, finding: Finding) -> None:
    curve = finding.curve
    top = TOP * curve.begins_at
    low, high = float(curve.smoothed.min()), min(top, float(curve.smoothed.max()))
    marks = [
        Curve(rule, np.full(2, lr), np.array([low, high])) for rule, lr in finding.rules.items()
    ]
    shown = [*marks, Curve("loss, smoothed", curve.lr, curve.smoothed)]
    title = "range test: training loss"
    console.print(line_plot(shown, console, title=title, x_label="lr", log_x=True, top=top))
    console.print()


def _print_rules(console: Console, finding: Finding) -> None:
    """Each rule's LR, and how far it is from the recommended one."""
    lrs = [finding.rules.get(rule) for rule in RULES]
    ratios = [None if lr is None else lr / finding.recommended_lr for lr in lrs]
    columns = [
        Column("rule", list(RULES), style="cyan"),
        Column("lr", [number(lr, 3) for lr in lrs], "right"),
        Column("times found", ["-" if r is None else number(r, 2) for r in ratios], "right"),
        Column("what it looks for", list(RULES.values())),
    ]
    print_columns(console, columns)
    console.print(printable(finding.disagreement), style="dim")


def _print_runs(console: Console, finding: Finding) -> None:
    """Final loss over LR, a curve for each length of run."""
    curves = [
        Curve(name, lrs, losses) for name, lrs, losses in _by_length(finding.results) if len(lrs)
    ]
    finite = np.concatenate([curve.y[np.isfinite(curve.y)] for curve in curves])
    if not finite.size:
        return
    log_y = bool((finite > 0).all())
    title = "confirmed by: final val_loss"
    console.print()
    console.print(line_plot(curves, console, title=title, x_label="lr", log_x=True, log_y=log_y))


def _by_length(results: Sequence[Result]) -> list[tuple[str, Floats, Floats]]:
    """(length in words, LRs, mean losses), the longest first."""
    shown = []
    for scale in sorted({each.trial.scale for each in results}, reverse=True):
        points = [(e.trial.lr, e.loss) for e in results if e.trial.scale == scale]
        by_lr = means(points)
        name = f"{len(points)} runs of {scale:.0%} of the length"
        shown.append((name, np.array(list(by_lr)), np.array(list(by_lr.values()))))
    return shown


def _print_answer(console: Console, finding: Finding) -> None:
    console.print(printable(finding.sentence), style="bold", soft_wrap=True)
    if finding.caution:
        console.print(Text(f"note: {printable(finding.caution)}", "yellow"), soft_wrap=True)
    if finding.loss is not None:
        noise = "" if finding.noise is None else f", ± {number(finding.noise, 2)} from seed to seed"
        console.print(f"val_loss {metric(finding.loss)} there{noise}", soft_wrap=True)
    cost = finding.cost
    steps = count(cost.range_steps + cost.trial_steps)
    runs = f"{cost.runs:.2g}" if cost.runs < 1 else f"{cost.runs:.1f}"
    place = printable(f"cost {steps} steps, as many as {runs} runs; {finding.path}")
    console.print(place, soft_wrap=True)
    console.print(printable(" ".join(finding.to_paste)), style="green", soft_wrap=True)


def print_no_finding(console: Console, path: Path, data: Mapping[str, Any]) -> None:
    """Say why a search has no answer, and what to do."""
    if data.get("stopped"):
        again = data.get("command") or "the same command"
        text = f"{path}: going on, or stopped; `{again}` goes on from what is done"
    else:
        text = f"{path}: no answer: {data.get('no_answer')}"
    console.print(printable(text), soft_wrap=True)


def print_search_list(console: Console, searches: Sequence[Mapping[str, Any]]) -> None:
    """One line a search; one that cannot be read says why."""
    whole = [each for each in searches if "problem" not in each]
    if whole:
        spans = [each["interval"] for each in whole]
        columns = [
            Column("search", [each["name"] for each in whole], style="cyan"),
            Column("status", [each["status"] for each in whole]),
            Column("best LR", [number(each["recommended_lr"], 3) for each in whole], "right"),
            Column("as good", [_span(each) for each in spans], "right", keep=5),
            Column("diverges at", [number(e["diverges_at"], 3) for e in whole], "right", keep=4),
            Column("val_loss", [metric(each["val_loss"]) for each in whole], "right", keep=6),
            Column("created (UTC)", [moment(each["created"]) for each in whole], keep=1),
        ]
        print_table(console, columns)
    for each in searches:
        if "problem" in each:
            text = f"{each['name']}: unreadable: {each['problem']}"
            console.print(printable(text), soft_wrap=True)


def _span(ends: Sequence[float] | None) -> str:
    return "-" if ends is None else f"{number(ends[0], 3)} to {number(ends[1], 3)}"


def finding_figure(finding: Finding, file: Path) -> None:
    """Draw the range test, its rules and the confirming runs into `file` (.png or .svg).

    Raises UsageError for another ending, EnvironmentFault where matplotlib is not installed or the
    file cannot be written.
    """
    figure, axes = new_figure(file)
    curve = finding.curve
    axes.plot(curve.lr, curve.loss, color="0.8", linewidth=0.8, label="range test")
    axes.plot(curve.lr, curve.smoothed, color="0.3", label="smoothed")
    for rule, lr in finding.rules.items():
        axes.axvline(lr, color=RULE_COLORS[rule], linestyle=":", label=f"{rule} {lr:.3g}")
    for name, lrs, losses in _by_length(finding.results):
        axes.plot(
            lrs, np.where(np.isfinite(losses), losses, np.nan), "o-", markersize=3, label=name
        )
    if finding.interval is not None:
        axes.axvspan(*finding.interval, color="green", alpha=0.15)
    axes.axvline(finding.recommended_lr, color="green", label=f"found {finding.recommended_lr:g}")
    axes.set_xscale("log")
    axes.set_ylim(top=TOP * curve.begins_at, bottom=min(0.0, float(curve.smoothed.min())))
    axes.set_xlabel("learning rate")
    axes.set_ylabel("loss")
    axes.set_title(printable(finding.sentence), parse_math=False, fontsize="small")
    axes.legend(fontsize="x-small")
    save(figure, file)

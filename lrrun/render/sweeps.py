"""What a sweep says about learning rates: a table, response curves, best-of-k, and sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from lrrun.analysis import forgiving
from lrrun.analysis.best_of_k import BestOfK, at_equal_budget
from lrrun.analysis.curves import ceiling, spans_decades
from lrrun.analysis.edges import diverged_range
from lrrun.analysis.points import Point
from lrrun.analysis.response import LR_KEY, Response, ResponseCurve, budgets, respond
from lrrun.errors import NoAnswer
from lrrun.records import Trial
from lrrun.render.facts import print_findings
from lrrun.render.figures import add_legend, new_figure, save, style
from lrrun.render.numbers import metric, number
from lrrun.render.plots import Curve, line_plot, shade
from lrrun.render.tables import Column, print_table
from lrrun.render.terminal import printable

NOT_DRAWN = (
    "these trials were chosen by results, not drawn at random: best of k is what k of them have, "
    "not what k new ones would have"
)
"""What best-of-k curves mean after TPE or halving."""


def sweep_report(
    console: Console,
    trials: Sequence[Trial],
    lr_key: str = LR_KEY,
    initial_loss: float | None = None,
    loss_name: str = "loss",
    plots: bool = True,
    chosen: bool = False,
) -> None:
    """Print what the finished trials of a sweep say; see analysis/response.py for the arguments.

    `chosen` says that results decided which trials were made.

    Without an LR among the axes only the best-of-k curves are left. Raises NoAnswer where no trial
    is finished.
    """
    curves = budgets(trials, lr_key)
    try:
        response = respond(trials, lr_key, initial_loss)
    except NoAnswer as problem:
        if not curves:
            raise
        print_findings(console, [problem])
    else:
        _print_response(console, response, loss_name, plots)
    if plots and max(len(curve.k) for curve in curves) > 1:
        console.print()
        _print_budgets(console, curves, loss_name)
    said = at_equal_budget(curves)
    if said:
        console.print(printable(said))
    if chosen and curves:
        print_findings(console, [NOT_DRAWN])


def _print_response(console: Console, response: Response, loss_name: str, plots: bool) -> None:
    _print_table(console, response)
    learnt = any(curve.best for curve in response.curves)
    if plots and learnt:
        console.print()
        _print_curves(console, response, loss_name)
    console.print()
    console.print(printable(forgiving.best(response)), style="bold")
    console.print(printable(forgiving.forgiving(response)))
    if learnt:
        console.print(printable(_legend(response)), style="dim")
    print_findings(console, forgiving.findings(response))


def _legend(response: Response) -> str:
    """What the words of the table mean, in this sweep's numbers."""
    noise = response.tolerance
    text = f"basin: LRs whose loss is at most {number(noise.value, 2)} above the best ({noise.why})"
    if response.over is None or response.cap is None:
        return text
    low, high = (number(end, 3) for end in response.over)
    return (
        f"{text}; sensitivity: mean loss over {low} to {high} less the best, no loss above "
        f"{number(response.cap, 3)} ({response.cap_why})"
    )


def _print_table(console: Console, response: Response) -> None:
    curves = response.curves
    print_table(
        console,
        [
            Column("curve", [curve.label for curve in curves], style="cyan"),
            Column("LRs", [str(len(curve.points)) for curve in curves], "right", keep=2),
            Column("seeds", [_seeds(curve) for curve in curves], "right", keep=3),
            Column("best LR", [number(c.best.lr if c.best else None, 3) for c in curves], "right"),
            Column("loss", [metric(c.best.mean if c.best else None) for c in curves], "right"),
            Column("+/- 95%", [_half_width(c.best) for c in curves], "right", keep=6),
            Column("basin", [_basin(curve) for curve in curves], "right", keep=7),
            Column("decades", [_decades(curve) for curve in curves], "right", keep=8),
            Column("sensitivity", [number(c.sensitivity, 3) for c in curves], "right", keep=5),
            Column("diverges at", [number(c.diverges_at, 3) for c in curves], "right", keep=4),
        ],
    )


def _seeds(curve: ResponseCurve) -> str:
    counts = [len(point.losses) for point in curve.points]
    return str(min(counts)) if min(counts) == max(counts) else f"{min(counts)}-{max(counts)}"


def _half_width(point: Point | None) -> str:
    return "-" if point is None or point.half_width is None else number(point.half_width, 2)


def _basin(curve: ResponseCurve) -> str:
    found = curve.basin
    if found is None:
        return "-"
    low = f"{'<' if found.open_low else ''}{number(found.low, 2)}"
    return f"{low} to {'>' if found.open_high else ''}{number(found.high, 2)}"


def _decades(curve: ResponseCurve) -> str:
    found = curve.basin
    if found is None:
        return "-"
    return f"{'>' if found.open_low or found.open_high else ''}{found.decades:.2f}"


def _print_curves(console: Console, response: Response, loss_name: str) -> None:
    """Mean loss over LR; a gap where a seed diverged, and shading where it goes on diverging."""
    curves = [_mean_curve(curve) for curve in response.curves]
    heights = [curve.y for curve in curves]
    lost = diverged_range([curve.points for curve in response.curves])
    note = "" if lost is None else f"; {shade(console)} from here on some seed diverges"
    plot = line_plot(
        curves,
        console,
        title=f"{loss_name} (mean over seeds){note}",
        x_label=response.lr_key,
        log_x=True,
        log_y=spans_decades(heights),
        top=ceiling(heights),
        shaded=[] if lost is None else [lost],
    )
    console.print(plot)


def _mean_curve(curve: ResponseCurve) -> Curve:
    means = [point.mean if math.isfinite(point.mean) else math.nan for point in curve.points]
    return Curve(curve.label, np.array([point.lr for point in curve.points]), np.array(means))


def _print_budgets(console: Console, curves: Sequence[BestOfK], loss_name: str) -> None:
    drawn = [Curve(c.label, c.k, np.where(np.isfinite(c.median), c.median, np.nan)) for c in curves]
    heights = [curve.y for curve in drawn]
    title = f"best {loss_name} of k of these trials, at random (median)"
    log_y = spans_decades(heights)
    console.print(line_plot(drawn, console, title=title, x_label="k", log_y=log_y, height=6))


def save_sweep_figure(
    file: Path,
    trials: Sequence[Trial],
    lr_key: str = LR_KEY,
    initial_loss: float | None = None,
    loss_name: str = "loss",
) -> None:
    """Draw the response curves and the best-of-k curves into `file` (.png or .svg).

    Raises NoAnswer as `respond` does, UsageError and EnvironmentFault as `figures.new_figure`.
    """
    response = respond(trials, lr_key, initial_loss)
    figure, (left, right) = new_figure(file, panels=2)
    _draw_response(left, response, loss_name)
    _draw_budgets(right, budgets(trials, lr_key), left.get_yscale(), loss_name)
    save(figure, file)


def _draw_response(axes: Any, response: Response, loss_name: str) -> None:
    """Means with their 95% intervals, single seeds as dots, lost ones as crosses at the top."""
    tried = [point.lr for curve in response.curves for point in curve.points]
    margin = max(2.0, max(tried) / min(tried)) ** 0.05
    axes.set_xscale("log")
    axes.set_xlim(min(tried) / margin, max(tried) * margin)
    means = [_mean_curve(curve).y for curve in response.curves]
    if spans_decades(means):
        axes.set_yscale("log")
    lost = diverged_range([curve.points for curve in response.curves])
    if lost is not None:
        axes.axvspan(*lost, color="0.5", alpha=0.15, linewidth=0, label="some seed diverges (x)")
    for k, curve in enumerate(response.curves):
        _draw_curve(axes, curve, k)
    top = ceiling(means)
    if top is not None:
        axes.set_ylim(top=top)
    if axes.get_yscale() == "log":  # intervals may reach below 0, which has no place there
        seeds = [loss for each in response.curves for p in each.points for loss in p.losses]
        axes.set_ylim(bottom=0.8 * min(loss for loss in seeds if loss > 0))
    axes.set_xlabel(printable(response.lr_key))
    axes.set_ylabel(f"{printable(loss_name)} (mean over seeds, 95% interval)")
    _finish(axes)


def _draw_curve(axes: Any, curve: ResponseCurve, k: int) -> None:
    drawn, color, height = _mean_curve(curve), f"C{k}", 0.98 - 0.03 * k
    axes.plot(drawn.x, drawn.y, marker=".", label=printable(curve.label), **style(k))
    half = np.array([p.half_width or math.nan for p in curve.points])
    axes.fill_between(drawn.x, drawn.y - half, drawn.y + half, color=color, alpha=0.2, linewidth=0)
    seeds = [(p.lr, loss) for p in curve.points for loss in p.losses if math.isfinite(loss)]
    if seeds:
        axes.scatter(*zip(*seeds, strict=True), color=color, s=4, alpha=0.5)
    if curve.best is not None:
        axes.plot(curve.best.lr, curve.best.mean, "o", color=color, markersize=8, fillstyle="none")
    crosses = [point.lr for point in curve.points if point.lost]
    across = axes.get_xaxis_transform()  # heights as shares of the axes
    axes.plot(crosses, [height] * len(crosses), "x", color=color, markersize=5, transform=across)


def _draw_budgets(axes: Any, curves: Sequence[BestOfK], yscale: str, loss_name: str) -> None:
    """Medians and their bands; dotted, where the trials set a bound on one side alone."""
    axes.set_yscale(yscale)
    for k, curve in enumerate(curves):
        median, low, high = (
            np.where(np.isfinite(each), each, np.nan)
            for each in (curve.median, curve.low, curve.high)
        )
        axes.plot(curve.k, median, label=printable(curve.label), **style(k))
        axes.fill_between(curve.k, low, high, color=f"C{k}", alpha=0.15, linewidth=0)
        axes.plot(curve.k, high, ":", color=f"C{k}", linewidth=1)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("k of these trials, at random")
    axes.set_ylabel(f"best {printable(loss_name)} of k (median, 95% band)")
    _finish(axes)


def _finish(axes: Any) -> None:
    axes.grid(alpha=0.3)
    add_legend(axes)

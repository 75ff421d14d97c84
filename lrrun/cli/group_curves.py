"""The curves of seed groups: their mean over seeds, and the band around it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lrrun.analysis.course import follow
from lrrun.analysis.seed_band import seed_band
from lrrun.analysis.seed_groups import SeedGroup
from lrrun.cli.run_curves import RunCurves, loss_curve, lr_curve
from lrrun.render.plots import Curve
from lrrun.runlog.reader import Run

MOST_SEEDS = 32
"""Runs of a group that its curve is made of: their tables have to be read."""


def curves_of_groups(groups: Sequence[SeedGroup], runs: Sequence[Run], metric: str) -> RunCurves:
    """The mean of a metric over the completed seeds of each group, and the LR of the first one."""
    curves = RunCurves([], [], [])
    for group in groups:
        done = [runs[index] for index in group.runs if runs[index].status == "completed"]
        if not done:
            curves.missing.append(f"{group.label} has no completed run to draw")
            continue
        course = done[0].fold_steps(follow)
        curves.losses.append(_mean_curve(group.label, done[:MOST_SEEDS], metric))
        curves.lrs.append(lr_curve(group.label, done[0], course))
        if not curves.losses[-1].x.size:
            curves.losses[-1] = loss_curve(f"{group.label}, one seed", done[0], course, metric)
        if len(done) > MOST_SEEDS:
            curves.missing.append(f"{group.label}: drawn from its first {MOST_SEEDS} runs")
    return curves


def _mean_curve(label: str, runs: Sequence[Run], metric: str) -> Curve:
    """The mean over runs at the steps where all of them have a value; empty for fewer than two."""
    tables = [run.epochs for run in runs if metric in run.epochs]
    known = [(each["step"], each[metric], np.isfinite(each[metric])) for each in tables]
    curves = [(steps[finite], values[finite]) for steps, values, finite in known]
    band = seed_band(curves) if curves else None
    if band is None or band.x.size < 2:
        return Curve(label, np.empty(0), np.empty(0))
    return Curve(label, band.x, band.mean, band=(band.low, band.high) if len(curves) > 1 else None)

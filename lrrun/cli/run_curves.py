"""The curves of runs, as compare and show draw them: of a fork, with what it was forked from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lrrun.analysis.course import Course, follow
from lrrun.render.plots import Curve
from lrrun.runlog.lineage import Trunk, trunks
from lrrun.runlog.reader import Run
from lrrun.runlog.summary import lr_columns


@dataclass(frozen=True)
class RunCurves:
    """Loss curves and LR curves over steps; `missing` says what of them could not be drawn."""

    losses: list[Curve]
    lrs: list[Curve]
    missing: list[str]

    @classmethod
    def of_several(cls, runs: Iterable[tuple[str, Run, Course]], metric: str) -> RunCurves:
        """One metric of runs under the names that they get, then of what they were forked from."""
        drawn = list(runs)
        curves = cls([], [], [])
        for name, run, course in drawn:
            curves.losses.append(loss_curve(name, run, course, metric))
            curves.lrs.append(lr_curve(name, run, course))
        shared, missing = trunks(run for _, run, _ in drawn)
        for trunk in shared:
            curves._begin(trunk, [(_name(trunk), metric)], _name(trunk))
        curves.missing.extend(missing)
        return curves

    @classmethod
    def of_one(cls, run: Run, course: Course, metrics: Sequence[str]) -> RunCurves:
        """Several metrics of one run, then those of what it was forked from."""
        losses = [loss_curve(metric, run, course, metric) for metric in metrics]
        shared, missing = trunks([run])
        curves = cls(losses, [lr_curve("lr", run, course)], missing)
        for trunk in shared:
            labelled = [(f"{metric} of {_name(trunk)}", metric) for metric in metrics]
            curves._begin(trunk, labelled, f"lr of {_name(trunk)}")
        return curves

    def _begin(self, trunk: Trunk, losses: Iterable[tuple[str, str]], lr: str) -> None:
        """Add the (label, metric) `losses` and the LR, labelled `lr`, of a trunk's updates."""
        run, course = trunk.run, trunk.run.fold_steps(follow)
        for label, metric in losses:
            self.losses.append(_up_to(loss_curve(label, run, course, metric), trunk.steps))
        self.lrs.append(_up_to(lr_curve(lr, run, course), trunk.steps - 1))


def loss_curve(name: str, run: Run, course: Course, metric: str) -> Curve:
    """The metric over steps; the training loss of every logged step where it has too few values."""
    values, later = run.epochs.get(metric), bool(run.info.get("parent"))
    if values is not None and np.isfinite(values).sum() >= 2:
        known = ~np.isnan(values)
        return Curve(name, run.epochs["step"][known], values[known], later)
    return Curve(f"{name} (training)", *course.loss, later)


def lr_curve(name: str, run: Run, course: Course) -> Curve:
    """The LR of the first param group over steps, from every logged step, else from the epochs."""
    if course.rows > 1:
        return Curve(name, *course.lr)
    columns = lr_columns(run.epochs)
    values = run.epochs[columns[0]] if columns else run.epochs["step"][:0]
    return Curve(name, run.epochs["step"][: values.size], values)


def _name(trunk: Trunk) -> str:
    return f"{trunk.run.name} to step {trunk.steps}"


def _up_to(curve: Curve, step: int) -> Curve:
    """The part of a curve that ends at `step`."""
    inside = curve.x <= step
    return replace(curve, x=curve.x[inside], y=curve.y[inside])

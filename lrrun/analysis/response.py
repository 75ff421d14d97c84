"""Loss against learning rate, one curve for each schedule (or optimizer, …) of a sweep."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lrrun.analysis.basin import Basin, Tolerance, basin, best_index, tolerance
from lrrun.analysis.best_of_k import BestOfK, best_of_k
from lrrun.analysis.edges import Edge, diverges_at, edges, step_decades
from lrrun.analysis.points import Group, Point, group
from lrrun.analysis.sensitivity import Range, common_range, lr_sensitivity
from lrrun.errors import NoAnswer
from lrrun.records import Trial

LR_KEY = "optimizer.lr"


@dataclass(frozen=True)
class ResponseCurve:
    """The trials that differ in nothing but LR and seed, and what they say about the LR.

    `best`, `basin` are None where every LR diverged; `sensitivity` where it is not defined (one LR,
    or no range that all curves share); `diverges_at` where the largest LR tried still held.
    `step` is the mean distance of the LRs tried, in decades.
    """

    label: str
    settings: Mapping[str, object]
    points: tuple[Point, ...]
    left_out: Mapping[str, int]
    best: Point | None
    basin: Basin | None
    sensitivity: float | None
    edges: tuple[Edge, ...]
    diverges_at: float | None
    step: float | None


@dataclass(frozen=True)
class Response:
    """The response curves of a sweep, measured alike so that they may be compared.

    `tolerance` is one for all curves' basins; no loss counts more than `cap` in a sensitivity, and
    `cap_why` says where that comes from; `over` is the LR range of the sensitivities.
    """

    lr_key: str
    curves: tuple[ResponseCurve, ...]
    tolerance: Tolerance
    cap: float | None
    cap_why: str
    over: Range | None

    @property
    def ranking(self) -> tuple[ResponseCurve, ...]:
        """The curves that have a best LR, the lowest loss first."""
        return tuple(sorted((c for c in self.curves if c.best), key=best_loss))


def best_loss(curve: ResponseCurve) -> float:
    """The lowest mean loss of a curve; inf where every LR diverged."""
    return curve.best.mean if curve.best else math.inf


def respond(
    trials: Sequence[Trial],
    lr_key: str = LR_KEY,
    initial_loss: float | None = None,
    within: float | None = None,
) -> Response:
    """Response curves of the finished trials, one for each combination of the other axes.

    `initial_loss` is the loss before training, which no LR does worse than not to train; by default
    the largest finite loss of any trial stands for it. `within` is how much above the best a loss
    counts as about as good; see `basin.tolerance`. Raises NoAnswer where no trial is finished, or
    the sweep does not vary `lr_key`.
    """
    groups = group(trials, lr_key)
    _refuse_nothing(trials, groups, lr_key)
    finite = [loss for each in groups for loss in each.losses if math.isfinite(loss)]
    cap = initial_loss if initial_loss is not None else max(finite, default=None)
    why = "the loss before training" if initial_loss is not None else "the worst finite loss seen"
    lowest = min(
        (each.points for each in groups if best_index(each.points) is not None),
        key=lambda points: min(point.mean for point in points),
        default=(),
    )
    noise = tolerance(lowest, cap) if within is None else Tolerance(within, "as asked for")
    over = common_range([each.points for each in groups])
    curves = tuple(_curve(each, noise.value, cap, over) for each in groups if each.points)
    return Response(lr_key, curves, noise, cap, why, over)


def budgets(trials: Sequence[Trial], lr_key: str = LR_KEY) -> list[BestOfK]:
    """The best-of-k curve of each combination of the axes beside LR and seed; see best_of_k.py.

    A trial is one LR with one seed. Of trials that were not drawn at random (a grid, TPE) it says
    what as many drawn at random from among them would have given.
    """
    return [best_of_k(each.label, each.losses) for each in group(trials, lr_key) if each.losses]


def _refuse_nothing(trials: Sequence[Trial], groups: Sequence[Group], lr_key: str) -> None:
    if not any(each.losses for each in groups):
        states = sorted({trial.status for trial in trials})
        got = f"{len(trials)} trials, all {' or '.join(states)}" if trials else "no trials"
        raise NoAnswer(f"no trial is finished yet ({got}): there is nothing to say about them")
    if not any(each.points for each in groups):
        keys = ", ".join(dict.fromkeys(key for trial in trials for key in trial.values)) or "none"
        raise NoAnswer(f"the sweep does not vary {lr_key} (its axes: {keys}): no response curve")


def _curve(each: Group, within: float, cap: float | None, over: Range | None) -> ResponseCurve:
    points, best = each.points, best_index(each.points)
    return ResponseCurve(
        label=each.label,
        settings=each.settings,
        points=points,
        left_out=each.left_out,
        best=None if best is None else points[best],
        basin=basin(points, within),
        sensitivity=None if cap is None or over is None else lr_sensitivity(points, cap, over),
        edges=edges(points),
        diverges_at=diverges_at(points),
        step=step_decades(points),
    )

"""Successive halving and Hyperband whose rungs compare finished schedules.

Points are trained for a share of the run, and the best 1/eta of them for a share eta times as
large, until the best few have the whole run: two at least, so that the rungs can be checked by it.
A short run is never the beginning of a long one: its schedule is finished too, rescaled to the rung
or as a cooldown (trials.py), since a schedule that is cut off while its learning rate is still high
says nothing about how it ends.

Source: Jamieson and Talwalkar, "Non-stochastic best arm identification and hyperparameter
optimization", 2016, https://arxiv.org/abs/1502.07943; Li et al., "Hyperband", JMLR 2018,
https://arxiv.org/abs/1603.06560.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lrrun.search.design import Design, PlannedTrial, mean_loss
from lrrun.search.grid import SEED, drawn, grid, identity, repeated, seeds_of

WARNING = (
    "short runs favour small learning rates: what a rung dropped may have won the whole run; the "
    "agreement above says how far the rungs can be trusted here"
)

FINALISTS = 2
"""Points, or more, that have the whole run."""

Point = Mapping[str, Any]


@dataclass(frozen=True)
class Bracket:
    """Points that compete: rung k has `sizes[k]` of them left, each with `scales[k]` of a run."""

    points: tuple[Point, ...]
    sizes: tuple[int, ...]
    scales: tuple[float, ...]


def brackets(design: Design) -> list[Bracket]:
    """One bracket for successive halving; for Hyperband one for each first rung."""
    method, points = design.method, _points(design)
    deepest = _power(method.eta, 1 / method.least)
    if method.halving == "halving":
        rungs = 1 + min(deepest, _power(method.eta, len(points)))
        return [_bracket(points, rungs, method.eta)]
    shuffled = [points[k] for k in np.random.default_rng(method.seed).permutation(len(points))]
    shares = [
        math.ceil((deepest + 1) * method.eta**rung / (rung + 1)) for rung in range(deepest, -1, -1)
    ]
    ends = [round(len(points) * each / sum(shares)) for each in itertools.accumulate(shares)]
    dealt = [shuffled[a:b] for a, b in itertools.pairwise([0, *ends])]
    rungs_of = range(deepest + 1, 0, -1)
    return [_bracket(own, n, method.eta) for own, n in zip(dealt, rungs_of, strict=True) if own]


def _points(design: Design) -> list[dict[str, Any]]:
    """The points, each once; their seeds come with every rung."""
    method = design.method
    axes = [axis for axis in design.axes if axis.key != SEED]
    if method.name == "random":
        return drawn(axes, method.points or 0, method.seed)
    return grid(axes)


def _power(base: int, number: float) -> int:
    """The largest k with base**k <= number."""
    return math.floor(math.log(number, base) + 1e-9)


def _bracket(points: Sequence[Point], rungs: int, eta: int) -> Bracket:
    sizes = tuple(max(min(FINALISTS, len(points)), len(points) // eta**k) for k in range(rungs))
    return Bracket(tuple(points), sizes, tuple(float(eta) ** (k - rungs + 1) for k in range(rungs)))


def total(design: Design) -> int:
    """How many trials, seeds included, all rungs have."""
    seeds = max(1, len(seeds_of(design.axes)))
    return seeds * sum(sum(each.sizes) for each in brackets(design))


def batch(
    design: Design, index: int, planned: Sequence[PlannedTrial], losses: Mapping[int, float]
) -> list[PlannedTrial]:
    """The trials of rung `index`, counted through all brackets: the best of the rung before it."""
    places = [(b, k) for b, each in enumerate(brackets(design)) for k in range(len(each.sizes))]
    if index >= len(places):
        return []
    number, rung = places[index]
    bracket = brackets(design)[number]
    points: Sequence[Point] = bracket.points
    if rung:
        before = [t for t in planned if t.bracket == number + 1 and t.rung == rung]
        points = [point for point, _ in ranked(before, losses)][: bracket.sizes[rung]]
    return [
        PlannedTrial(len(planned) + k, values, bracket.scales[rung], rung + 1, number + 1)
        for k, values in enumerate(repeated(points, design.axes), start=1)
    ]


def ranked(
    trials: Sequence[PlannedTrial], losses: Mapping[int, float]
) -> list[tuple[Point, float]]:
    """The points of a rung with their mean losses over the seeds, the best first."""
    found: dict[tuple[str, ...], tuple[Point, list[float]]] = {}
    for trial in trials:
        point = {key: value for key, value in trial.values.items() if key != SEED}
        found.setdefault(identity(point), (point, []))[1].append(losses.get(trial.number, math.inf))
    scored = [(point, mean_loss(each)) for point, each in found.values()]
    return sorted(scored, key=lambda each: each[1])


@dataclass(frozen=True)
class Agreement:
    """How far the order of a rung is the order of a later one, for the points that had both.

    `pairs` of points were compared, and `agreed` of them stand in the same order in both rungs.
    """

    bracket: int
    rung: int
    scale: float
    later: int
    later_scale: float
    pairs: int
    agreed: int

    @property
    def tau(self) -> float:
        """Kendall's rank correlation, 1 for the same order; pairs that tie are left out."""
        return 2 * self.agreed / self.pairs - 1


def agreements(planned: Sequence[PlannedTrial], losses: Mapping[int, float]) -> list[Agreement]:
    """Every rung against the next and against the last one of its bracket."""
    found = []
    for number in sorted({trial.bracket for trial in planned if trial.bracket}):
        own = [trial for trial in planned if trial.bracket == number]
        rungs = sorted({trial.rung for trial in own if trial.rung})
        trials = {rung: [trial for trial in own if trial.rung == rung] for rung in rungs}
        for rung in rungs[:-1]:
            for later in sorted({rung + 1, rungs[-1]}):
                one, other = _scores(trials[rung], losses), _scores(trials[later], losses)
                pairs, agreed = _same_order(one, other)
                if pairs:
                    scales = trials[rung][0].scale, trials[later][0].scale
                    found.append(
                        Agreement(number, rung, scales[0], later, scales[1], pairs, agreed)
                    )
    return found


Scores = Mapping[tuple[str, ...], float]


def _same_order(one: Scores, other: Scores) -> tuple[int, int]:
    """Pairs of points that both know and that tie in neither, and those in the same order."""
    pairs = agreed = 0
    for a, b in itertools.combinations([point for point in other if point in one], 2):
        if one[a] != one[b] and other[a] != other[b]:
            pairs += 1
            agreed += (one[a] < one[b]) == (other[a] < other[b])
    return pairs, agreed


def _scores(
    trials: Sequence[PlannedTrial], losses: Mapping[int, float]
) -> dict[tuple[str, ...], float]:
    return {identity(point): loss for point, loss in ranked(trials, losses)}

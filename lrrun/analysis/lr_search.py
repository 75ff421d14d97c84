"""Which learning rates to try next: from a range test's guess to a bracket, and on to its bottom.

A search has three stages. **Scout**: runs of a tenth of the length, two LRs a decade, widened while
the best of them is the highest or lowest tried. **Bracket**: runs of full length around the scouts'
best, four a decade, widened alike: what is best in a short run is not what is best in a long one.
**Settle**: more of them around the bottom, eight a decade and each round with another seed, while
the budget lasts. A plan and the results so far say all: the same ones give the same next trials.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lrrun.analysis.lr_basin import Point, bottom

PER_DECADE = 8
"""LRs are taken from the grid 10^(k/8), k whole, so that stages meet in the same ones."""

SCOUT, BRACKET = 4, 2
"""Steps of k between neighbouring LRs, by stage; settling takes every k."""

FULL_FROM = 8.0
"""Runs that a budget must pay for before the last stages have the full length."""

SCOUT_SHARE = 0.1
"""A scout's length, as a share of the last stages'."""

LEAST_STEPS = 20
"""A shorter run tells nothing."""

AS_GOOD = 0.1
"""Scouts are as good as the best where their loss is at most this share of it higher."""

WIDENINGS = 6
"""Times that a stage is widened before it is given up."""


@dataclass(frozen=True, order=True)
class Trial:
    """A run to make: its LR, its length as a share of the config's, its seed."""

    lr: float
    scale: float
    seed: int


@dataclass(frozen=True)
class Result:
    """How a trial ended: its last validation loss (infinite if it diverged), and its updates."""

    trial: Trial
    loss: float
    steps: int


@dataclass(frozen=True)
class SearchPlan:
    """What a search has to go on.

    It begins with the LRs from `low` to `high`; `budget` is what it may cost, in runs of the config
    of `total_steps` updates each; `seed` is that of its first runs. No LR outside `allowed` is
    tried.
    """

    low: float
    high: float
    budget: float
    total_steps: int
    seed: int
    allowed: tuple[float, float] = (0.0, math.inf)
    lost: float = math.inf
    """A long run that ends with such a loss has diverged, whatever it calls it: it learnt nothing
    where short ones did."""

    @property
    def full(self) -> float:
        """The scale of the last stages: 1, or less where the budget is small."""
        return self._at_least(min(1.0, self.budget / FULL_FROM))

    @property
    def scout(self) -> float:
        """The scale of the scouts."""
        return self._at_least(SCOUT_SHARE * self.full)

    def _at_least(self, scale: float) -> float:
        return min(1.0, max(scale, LEAST_STEPS / self.total_steps))


def lr_at(k: int) -> float:
    """The LR at place k of the grid, in three digits, which is what a person would paste.

    >>> lr_at(-8), lr_at(-6), lr_at(1)
    (0.1, 0.178, 1.33)
    """
    return float(f"{10 ** (k / PER_DECADE):.3g}")


def place_of(lr: float) -> int:
    """The place on the grid that is nearest to an LR, by ratio.

    >>> place_of(lr_at(-21))
    -21
    """
    return round(PER_DECADE * math.log10(lr))


def next_trials(plan: SearchPlan, results: Sequence[Result]) -> list[Trial]:
    """What to run after these results; nothing when the search is over."""
    first = _span(plan)
    if plan.scout < plan.full:
        scouts = {place_of(r.trial.lr): r.loss for r in results if r.trial.scale == plan.scout}
        wanted = _widened(scouts, first, SCOUT, plan)
        if wanted:
            return [Trial(lr_at(k), plan.scout, plan.seed) for k in wanted]
        if not any(map(math.isfinite, scouts.values())):
            return []
        middle = _lowest_as_good(scouts)
        first = [middle - BRACKET, middle, middle + BRACKET]
    full = [r for r in results if r.trial.scale == plan.full]
    points = long_runs(full, plan.lost)
    own = {
        place_of(r.trial.lr): loss
        for r, (_, loss) in zip(full, points, strict=True)
        if r.trial.seed == plan.seed
    }
    left = plan.budget - sum(r.steps for r in results) / plan.total_steps
    paid = max(0, int(left / plan.full))
    wanted = _widened(own, first, BRACKET, plan)
    if wanted:
        return [Trial(lr_at(k), plan.full, plan.seed) for k in wanted[:paid]]
    return _settling(plan, full, points)[:paid]


def long_runs(results: Sequence[Result], lost: float = math.inf) -> list[Point]:
    """The points of the longest runs, for their basin; those that learnt nothing are infinite."""
    longest = max((r.trial.scale for r in results), default=1.0)
    full = [r for r in results if r.trial.scale == longest]
    return [(math.log10(r.trial.lr), r.loss if r.loss < lost else math.inf) for r in full]


def _span(plan: SearchPlan) -> list[int]:
    """The scouts' places from `low` to `high`, both included."""
    first = math.floor(PER_DECADE * math.log10(plan.low) / SCOUT) * SCOUT
    last = math.ceil(PER_DECADE * math.log10(plan.high) / SCOUT) * SCOUT
    return list(range(first, last + 1, SCOUT))


def _widened(
    losses: Mapping[int, float], first: Sequence[int], step: int, plan: SearchPlan
) -> list[int]:
    """The places still to be tried: the first ones, then a neighbour of a best at the edge."""
    if not losses:
        return [k for k in first if _allowed(k, plan)]
    if len(losses) > len(first) + WIDENINGS:
        return []
    best = min(losses, key=lambda k: (losses[k], k))  # the lowest where all diverged
    return [k for k in (best - step, best + step) if k not in losses and _allowed(k, plan)]


def _lowest_as_good(scouts: Mapping[int, float]) -> int:
    """The lowest place whose loss is nearly the best one's.

    Short runs favour LRs that are too high for long ones, and tell little among the good.
    """
    best = min(scouts.values())
    return min(k for k, loss in scouts.items() if loss <= best + AS_GOOD * abs(best))


def _settling(plan: SearchPlan, full: Sequence[Result], points: Sequence[Point]) -> list[Trial]:
    """Another round around the bottom, the nearest first, with the next seed."""
    if not any(math.isfinite(loss) for _, loss in points):
        return []
    middle = place_of(10 ** bottom(points))
    seed = 1 + max(r.trial.seed for r in full)
    places = [k for k in (middle, middle - 1, middle + 1) if _allowed(k, plan)]
    return [Trial(lr_at(k), plan.full, seed) for k in places]


def _allowed(k: int, plan: SearchPlan) -> bool:
    return plan.allowed[0] <= lr_at(k) <= plan.allowed[1]

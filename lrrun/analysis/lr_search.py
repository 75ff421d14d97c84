"""Which learning rates to try next: from a range test's guess to a bracket, and on to its bottom.

A search has three stages. **Scout**: runs of a tenth of the length, two LRs a decade, widened while
the best of them is the highest or lowest tried. **Bracket**: runs of full length around the scouts'
best, four a decade, widened alike: what is best in a short run is not what is best in a long one.
**Settle**: more of them around the bottom, eight a decade and each round with another seed, while
the budget lasts. Where scouts would be as long as full runs there are none, and the bracket begins
with all LRs that they would have tried. A plan and the results so far say all: the same ones give
the same next trials.
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

SCOUT_PART = 0.5
"""The most of the budget that scouts may cost; of one without them, that the first bracket may."""

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

    It begins with the LRs from `low` to `high`; `budget` is what its runs may cost, in runs of the
    config of `total_steps` updates each; `seed` is that of its first runs. No LR outside `allowed`
    is tried.
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

    def steps(self, scale: float) -> int:
        """Updates of a run of this scale."""
        return max(1, round(scale * self.total_steps))

    def paid(self, scale: float, results: Sequence[Result] = (), part: float = 1.0) -> int:
        """Runs of this scale that `part` of the budget still pays for after these results."""
        left = part * self.budget * self.total_steps - sum(r.steps for r in results)
        return max(0, int((left + 1e-6) // self.steps(scale)))

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
    if plan.scout < plan.full:
        scouts = _by_place(results, plan, plan.scout)
        wanted = _widened(scouts, _first(plan, plan.scout), SCOUT, plan)
        wanted = wanted[: plan.paid(plan.scout, results, SCOUT_PART)]
        if wanted:
            return [Trial(lr_at(k), plan.scout, plan.seed) for k in wanted]
        if not any(map(math.isfinite, scouts.values())):
            return []
    paid = plan.paid(plan.full, results)
    wanted = _widened(_by_place(results, plan, plan.full), _bracket(plan, results), BRACKET, plan)
    if wanted:
        return [Trial(lr_at(k), plan.full, plan.seed) for k in wanted[:paid]]
    return _settling(plan, results)[:paid]


def why_at_edge(plan: SearchPlan, results: Sequence[Result], lr: float) -> str:
    """Why the search went no further where `lr` is the largest or smallest LR of its longest runs.

    Empty where it is between them.
    """
    longest = max(r.trial.scale for r in results)
    lrs = [r.trial.lr for r in results if r.trial.scale == longest]
    largest, smallest = _reaches(lr, max(lrs)), _reaches(min(lrs), lr)
    if not (largest or smallest):
        return ""
    side, more = ("largest", "larger") if largest else ("smallest", "smaller")
    if largest and smallest:
        return "it is the only LR tried: give a larger --budget"
    if not _allowed(place_of(lr) + (BRACKET if largest else -BRACKET), plan):
        return f"it is the {side} LR tried: the config allows no {more} one"
    if _is_given_up(_by_place(results, plan, longest), _bracket(plan, results)):
        toward = "--to" if largest else "--from"
        return f"it is the {side} LR tried, after {WIDENINGS} widenings: give a {more} {toward}"
    return f"it is the {side} LR tried, and the budget is spent: give a larger --budget"


def _reaches(lr: float, other: float) -> bool:
    return lr > other or math.isclose(lr, other, rel_tol=1e-6)


def long_runs(results: Sequence[Result], lost: float = math.inf) -> list[Point]:
    """The points of the longest runs, for their basin; those that learnt nothing are infinite."""
    longest = max((r.trial.scale for r in results), default=1.0)
    full = [r for r in results if r.trial.scale == longest]
    return [(math.log10(r.trial.lr), r.loss if r.loss < lost else math.inf) for r in full]


def _by_place(results: Sequence[Result], plan: SearchPlan, scale: float) -> dict[int, float]:
    """The losses of the runs of a scale with the first seed, by place; lost ones are infinite."""
    lost = plan.lost if scale == plan.full else math.inf
    return {
        place_of(r.trial.lr): r.loss if r.loss < lost else math.inf
        for r in results
        if (r.trial.scale, r.trial.seed) == (scale, plan.seed)
    }


def _first(plan: SearchPlan, scale: float) -> list[int]:
    """The places that a stage of this scale begins with: from `low` to `high`, both included.

    Evenly fewer of them, the middle ones kept, where the budget does not pay for all.
    """
    low = math.floor(PER_DECADE * math.log10(plan.low) / SCOUT) * SCOUT
    high = math.ceil(PER_DECADE * math.log10(plan.high) / SCOUT) * SCOUT
    places = [k for k in range(low, high + 1, SCOUT) if _allowed(k, plan)]
    stride = max(1, math.ceil(len(places) / max(1, plan.paid(scale, part=SCOUT_PART))))
    return places[(len(places) - 1) % stride // 2 :: stride]


def _bracket(plan: SearchPlan, results: Sequence[Result]) -> list[int]:
    """The places that runs of full length begin with, the likeliest first."""
    if plan.scout >= plan.full:
        return _first(plan, plan.full)
    middle = _lowest_as_good(_by_place(results, plan, plan.scout))
    return [middle, middle - BRACKET, middle + BRACKET]


def _widened(
    losses: Mapping[int, float], first: Sequence[int], step: int, plan: SearchPlan
) -> list[int]:
    """The places still to be tried: the first ones, then a neighbour of a best at the edge."""
    if not losses:
        return [k for k in first if _allowed(k, plan)]
    if _is_given_up(losses, first):
        return []
    best = min(losses, key=lambda k: (losses[k], k))  # the lowest where all diverged
    return [k for k in (best - step, best + step) if k not in losses and _allowed(k, plan)]


def _is_given_up(losses: Mapping[int, float], first: Sequence[int]) -> bool:
    return len(losses) > len(first) + WIDENINGS


def _lowest_as_good(scouts: Mapping[int, float]) -> int:
    """The lowest place whose loss is nearly the best one's.

    Short runs favour LRs that are too high for long ones, and tell little among the good.
    """
    best = min(scouts.values())
    return min(k for k, loss in scouts.items() if loss <= best + AS_GOOD * abs(best))


def _settling(plan: SearchPlan, results: Sequence[Result]) -> list[Trial]:
    """Another round around the bottom, the nearest first, with the next seed."""
    full = [r for r in results if r.trial.scale == plan.full]
    points = long_runs(full, plan.lost)
    if not any(math.isfinite(loss) for _, loss in points):
        return []
    middle = place_of(10 ** bottom(points))
    seed = 1 + max(r.trial.seed for r in full)
    places = [k for k in (middle, middle - 1, middle + 1) if _allowed(k, plan)]
    return [Trial(lr_at(k), plan.full, seed) for k in places]


def _allowed(k: int, plan: SearchPlan) -> bool:
    return plan.allowed[0] <= lr_at(k) <= plan.allowed[1]

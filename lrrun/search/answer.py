"""The answer of a search, read off its range test alone or off the runs that confirm it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from lrrun.analysis.lr_basin import basin
from lrrun.analysis.lr_rules import disagreement
from lrrun.analysis.lr_search import Result, SearchPlan, long_runs, why_at_edge
from lrrun.config.experiment import Experiment
from lrrun.errors import NoAnswer
from lrrun.search.confirm import JUDGED_BY
from lrrun.search.finding import Cost, Finding
from lrrun.search.range_test import RangePlan, RangeTest

QUICK_RULE = "minimum/10"
"""The rule that is believed where no run may confirm it."""

LOST = 0.99
"""A final loss above this share of what a model has that knows nothing is no better."""


def by_rule(
    test: RangeTest, plan: RangePlan, rules: dict[str, float], keys: tuple[str, ...], cost: Cost
) -> Finding:
    """The LR of QUICK_RULE; raises NoAnswer where it lies below what was tested: the other rules
    are then as near to where the loss rises as to where it falls.
    """
    lr = rules[QUICK_RULE]
    if lr < plan.low:
        raise NoAnswer(
            f"{QUICK_RULE} says {lr:.3g}, below the LRs that were tested, {plan.low:g} to "
            f"{plan.high:g}; give a lower --from ({test.path})"
        )
    said = f"not confirmed by any run; the rules differ by a factor of {disagreement(rules):.2g}"
    short = float(f"{lr:.3g}")
    return Finding(
        test.path,
        keys,
        short if short >= plan.low else lr,
        interval=None,
        diverges_at=rules.get("edge"),
        loss=None,
        noise=None,
        rules=rules,
        curve=test.curve,
        results=(),
        cost=cost,
        caution=said,
    )


def by_runs(
    test: RangeTest,
    tested: RangePlan,
    rules: dict[str, float],
    keys: tuple[str, ...],
    plan: SearchPlan,
    results: Sequence[Result],
) -> Finding:
    """The basin of the longest runs; raises NoAnswer where none of them learnt anything."""
    longest = max(each.trial.scale for each in results)
    full = [each for each in results if each.trial.scale == longest]
    points = long_runs(results, plan.lost)
    if not any(math.isfinite(loss) for _, loss in points):
        lrs = [each.trial.lr for each in results]
        raise NoAnswer(
            f"no run learnt anything at LRs from {min(lrs):g} to {max(lrs):g}: the lowest "
            f"{JUDGED_BY} is {min(each.loss for each in results):.4g}, and {plan.lost:.4g} takes "
            f"no learning ({test.path})"
        )
    found = basin(points)
    recommended = float(f"{found.lr:.3g}")
    spent = sum(each.steps for each in results)
    said = []
    if longest < 1:
        said.append(f"the runs had {longest:.0%} of the length, where larger LRs may look better")
    if not tested.low <= recommended <= tested.high:
        said.append(f"runs led outside the range test's {tested.low:g} to {tested.high:g}")
    if math.isnan(found.noise):
        said.append("there were too few runs to tell the noise")
    return Finding(
        test.path,
        keys,
        recommended,
        interval=(float(f"{found.low:.3g}"), float(f"{found.high:.3g}")),
        diverges_at=diverges_at(found.lr, full, plan.lost, rules),
        loss=found.loss,
        noise=None if math.isnan(found.noise) else found.noise,
        rules=rules,
        curve=test.curve,
        results=tuple(results),
        cost=Cost(test.steps, spent, plan.total_steps),
        caution="; ".join(said),
        at_edge=why_at_edge(plan, results, found.lr),
    )


def lost_from(experiment: Experiment, test: RangeTest) -> float:
    """A run that ends with this loss has learnt nothing: nearly the first one, or a guess's."""
    facts = experiment.dataset.facts(experiment.folder)
    begins = test.curve.begins_at
    if facts is None or facts.task == "regression":
        return LOST * begins
    return LOST * min(begins, math.log(facts.outputs))


def diverges_at(
    lr: float, full: Sequence[Result], lost: float, rules: dict[str, float]
) -> float | None:
    """The lowest LR above `lr` that lost all, in a long run or, above those, in the range test."""
    gone = [each.trial.lr for each in full if each.loss >= lost and each.trial.lr > lr]
    held = max((each.trial.lr for each in full if each.loss < lost), default=0.0)
    edge = [float(f"{rules['edge']:.3g}")] if rules.get("edge", 0.0) > held else []
    return min((*gone, *edge), default=None)

"""From a config to its learning rate: a range test, then real runs that confirm or correct it."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lrrun.analysis.lr_basin import Basin, basin
from lrrun.analysis.lr_rules import CLEAR_DROP, DROP, answers, disagreement, hopeless
from lrrun.analysis.lr_search import (
    Result,
    SearchPlan,
    Trial,
    long_runs,
    lr_at,
    next_trials,
    place_of,
)
from lrrun.config.check import check_if_known
from lrrun.config.experiment import Experiment
from lrrun.errors import NoAnswer, UsageError
from lrrun.records import Notice
from lrrun.runlog.lock import RunLock
from lrrun.search.confirm import JUDGED_BY, Confirmer, TrainMany
from lrrun.search.finding import Cost, Finding, write_curve, write_refusal
from lrrun.search.lr_key import lr_keys
from lrrun.search.range_test import (
    RangePlan,
    RangeTest,
    Shape,
    range_experiment,
    range_test,
    usual_steps,
)
from lrrun.search.unfinished import facts_of, finished_trials, stopped_search

if TYPE_CHECKING:
    from lrrun.training.signals import StopOnSignals

BUDGET = 11.0
"""Runs of the config that a search may cost, unless it is told otherwise."""

BELOW = 3.0
"""The search begins so many times below the lowest LR that any rule suggests."""

QUICK_RULE = "minimum/10"
"""The rule that is believed where no run may confirm it."""

LOST = 0.99
"""A final loss above this share of what a model has that knows nothing is no better."""


@dataclass(frozen=True)
class Search:
    """How a learning rate is to be looked for."""

    runs_dir: Path
    low: float
    high: float
    steps: int | None = None
    """Updates of the range test; None: by the length of the run."""
    linear: bool = False
    budget: float = BUDGET
    quick: bool = False
    command: str = ""
    stop: StopOnSignals | None = None
    allow_code: bool = False
    train_many: TrainMany | None = None

    def __post_init__(self) -> None:
        if not 0 < self.budget < math.inf:
            raise UsageError(f"--budget {self.budget:g}: expected a number of runs above 0")


def find(experiment: Experiment, search: Search) -> Iterator[Notice | Finding]:
    """Look for the experiment's LR, saying what is being done; the Finding comes last.

    It is missing where a signal interrupted the search. Global random states, threads and settings
    are left as they were. Raises NoAnswer where the curve or the runs do not support an answer.
    """
    from lrrun.training.chance import undisturbed

    experiment = experiment.with_seed(experiment.seeds[0])
    with undisturbed(experiment.train.device):
        yield from _find(experiment, search)


def _find(experiment: Experiment, search: Search) -> Iterator[Notice | Finding]:
    keys = lr_keys(experiment)
    total = total_steps(experiment)
    shape: Shape = "linear" if search.linear else "exponential"
    steps = usual_steps(total) if search.steps is None else search.steps
    plan = RangePlan(search.low, search.high, steps, shape)
    if not search.quick and steps >= search.budget * total:
        raise UsageError(
            f"--budget {search.budget:g}: the range test alone takes {steps / total:.2g} runs' "
            "steps; give more, or --quick"
        )
    yield Notice(f"range test: {plan.steps} steps from {plan.low:g} to {plan.high:g}, {shape}")
    raised = range_experiment(experiment, plan, search.allow_code)
    test = stopped_search(raised, plan, search.quick, search.runs_dir)
    if test is not None:
        yield Notice(f"going on with {test.path}, which was stopped after its range test")
    else:
        facts = facts_of(search.command, plan, search.quick)
        test = range_test(raised, plan, search.runs_dir, facts=facts, stop=search.stop)
    if test is None:
        return
    with RunLock(test.path):
        write_curve(test.path, test.curve)
        try:
            finding = yield from _read(experiment, search, test, keys, total)
        except NoAnswer as error:
            write_refusal(test.path, str(error))
            raise
        if finding is not None:
            finding.write()
    if finding is not None:
        yield finding


def _read(
    experiment: Experiment, search: Search, test: RangeTest, keys: tuple[str, ...], total: int
) -> Generator[Notice, None, Finding | None]:
    """The finding of a range test and the runs that confirm it; None: a signal came in."""
    if reason := hopeless(test.curve, CLEAR_DROP if search.quick else DROP):
        raise NoAnswer(
            f"no learning rate can be read off the range test: {reason} ({test.path}/curve.csv); "
            "look at the data and the loss first, or test other LRs (--from, --to) for longer "
            "(--steps)"
        )
    rules = answers(test.curve)
    if search.quick:
        return _by_rule(test, rules, keys, Cost(test.steps, 0, total))
    results = yield from _confirm(experiment, search, test, rules, total)
    if results is None:
        return None
    return _by_runs(test, rules, keys, results, total, _lost(experiment, test))


def _confirm(
    experiment: Experiment, search: Search, test: RangeTest, rules: dict[str, float], total: int
) -> Generator[Notice, None, list[Result] | None]:
    """Run what the search asks for until it asks no more; None where a signal interrupted it."""
    facts = {"command": search.command, "find": test.path.name}
    confirmer = Confirmer(
        experiment,
        total,
        test.path / "trials",
        facts,
        search.stop,
        search.allow_code,
        search.train_many,
        finished_trials(test.path / "trials"),
    )
    suggested = [lr for rule, lr in rules.items() if rule != "edge"]
    plan = SearchPlan(
        low=min(suggested) / BELOW,
        high=rules.get("edge", max(suggested)),
        budget=search.budget - test.steps / total,
        total_steps=total,
        seed=experiment.seeds[0],
        allowed=_allowed(confirmer, min(suggested) / BELOW, max(suggested)),
        lost=_lost(experiment, test),
    )
    results: list[Result] = []
    while trials := next_trials(plan, results):
        yield Notice(_said(trials, total))
        made = yield from confirmer.run(trials)
        if made is None:
            return None
        results += made
    return results


def _said(trials: Sequence[Trial], total: int) -> str:
    lrs = [trial.lr for trial in trials]
    steps = max(1, round(total * trials[0].scale))
    some = f"{min(lrs):g}" if len(lrs) == 1 else f"{min(lrs):g} to {max(lrs):g}"
    length = "full length" if trials[0].scale == 1 else f"{trials[0].scale:.0%} of the length"
    plural = "s" if len(lrs) > 1 else ""
    return f"confirm: {len(lrs)} run{plural} of {steps} steps ({length}) at LR {some}"


def _allowed(confirmer: Confirmer, low: float, high: float) -> tuple[float, float]:
    """The LRs that the config can have, of those around the ones from `low` to `high`."""
    first, last = place_of(low) - 24, place_of(high) + 24
    lrs = [lr for lr in map(lr_at, range(first, last + 1)) if confirmer.allows(lr)]
    if not lrs:
        raise NoAnswer(f"the config allows no learning rate between {low:.3g} and {high:.3g}")
    return min(lrs), max(lrs)


def _by_rule(
    test: RangeTest, rules: dict[str, float], keys: tuple[str, ...], cost: Cost
) -> Finding:
    factor = disagreement(rules)
    return Finding(
        test.path,
        keys,
        float(f"{rules[QUICK_RULE]:.3g}"),
        interval=None,
        diverges_at=rules.get("edge"),
        loss=None,
        noise=None,
        rules=rules,
        curve=test.curve,
        results=(),
        cost=cost,
        caution=f"not confirmed by any run; the rules differ by a factor of {factor:.2g}",
    )


def _by_runs(
    test: RangeTest,
    rules: dict[str, float],
    keys: tuple[str, ...],
    results: Sequence[Result],
    total: int,
    lost: float,
) -> Finding:
    """The basin of the longest runs; raises NoAnswer where none of them learnt anything."""
    longest = max(each.trial.scale for each in results)
    full = [each for each in results if each.trial.scale == longest]
    points = long_runs(results, lost)
    if not any(math.isfinite(loss) for _, loss in points):
        lrs = [each.trial.lr for each in results]
        raise NoAnswer(
            f"no run learnt anything at LRs from {min(lrs):g} to {max(lrs):g}: the lowest "
            f"{JUDGED_BY} is {min(each.loss for each in results):.4g}, and {lost:.4g} takes no "
            f"learning ({test.path})"
        )
    found = basin(points)
    recommended = float(f"{found.lr:.3g}")
    spent = sum(each.steps for each in results)
    return Finding(
        test.path,
        keys,
        recommended,
        interval=(float(f"{found.low:.3g}"), float(f"{found.high:.3g}")),
        diverges_at=_diverges_at(found.lr, full, lost, rules),
        loss=found.loss,
        noise=None if math.isnan(found.noise) else found.noise,
        rules=rules,
        curve=test.curve,
        results=tuple(results),
        cost=Cost(test.steps, spent, total),
        caution=_caution(found, full, longest),
    )


def _lost(experiment: Experiment, test: RangeTest) -> float:
    """A run that ends with this loss has learnt nothing: nearly the first one, or a guess's."""
    facts = experiment.dataset.facts(experiment.folder)
    begins = test.curve.begins_at
    if facts is None or facts.task == "regression":
        return LOST * begins
    return LOST * min(begins, math.log(facts.outputs))


def _diverges_at(
    lr: float, full: Sequence[Result], lost: float, rules: dict[str, float]
) -> float | None:
    """The lowest LR above `lr` that lost all, in a long run or, above those, in the range test."""
    gone = [each.trial.lr for each in full if each.loss >= lost and each.trial.lr > lr]
    held = max((each.trial.lr for each in full if each.loss < lost), default=0.0)
    edge = [float(f"{rules['edge']:.3g}")] if rules.get("edge", 0.0) > held else []
    return min((*gone, *edge), default=None)


def _caution(found: Basin, full: Sequence[Result], scale: float) -> str:
    """What makes the answer less sure than it looks, or nothing."""
    lrs = {each.trial.lr for each in full}
    said = []
    if scale < 1:
        said.append(f"the runs had {scale:.0%} of the length, where larger LRs may look better")
    if len(lrs) > 1 and not min(lrs) < found.lr < max(lrs):
        side = "largest" if found.lr >= max(lrs) else "smallest"
        said.append(f"the best is the {side} LR tried: give a larger --budget")
    if math.isnan(found.noise):
        said.append("there were too few runs to tell the noise")
    return "; ".join(said)


def total_steps(experiment: Experiment) -> int:
    """Updates of one run of the experiment; somebody's own dataset is loaded to know it."""
    clock = check_if_known(experiment)
    if clock is None:
        from lrrun.training.preparation import prepare

        clock = prepare(experiment).clock
    return clock.units.total_steps

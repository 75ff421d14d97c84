"""From a config to its learning rate: a range test, then real runs that confirm or correct it."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lrrun.analysis.lr_budget import most_steps
from lrrun.analysis.lr_rules import CLEAR_DROP, DROP, answers, hopeless
from lrrun.analysis.lr_search import Result, SearchPlan, Trial, lr_at, next_trials, place_of
from lrrun.config.check import check_if_known
from lrrun.config.experiment import Experiment
from lrrun.errors import NoAnswer, UsageError
from lrrun.records import Notice
from lrrun.runlog.lock import RunLock
from lrrun.search.answer import by_rule, by_runs, lost_from
from lrrun.search.confirm import Confirmer, TrainMany
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
from lrrun.search.unfinished import (
    discard_range_tests,
    facts_of,
    finished_trials,
    stopped_search,
)

if TYPE_CHECKING:
    from lrrun.training.signals import StopOnSignals

BELOW = 3.0
"""The search begins so many times below the lowest LR that any rule suggests."""


@dataclass(frozen=True)
class Search:
    """How a learning rate is to be looked for."""

    runs_dir: Path
    low: float
    high: float
    steps: int | None = None
    """Updates of the range test; None: by the length of the run."""
    linear: bool = False
    budget: float | None = None
    """Runs of the config that it may cost; None: as lrrun.analysis.lr_budget has it."""
    quick: bool = False
    command: str = ""
    stop: StopOnSignals | None = None
    allow_code: bool = False
    train_many: TrainMany | None = None

    def __post_init__(self) -> None:
        if self.budget is not None and not 0 < self.budget < math.inf:
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
    plan = _range_plan(search, total)
    yield Notice(f"range test: {plan.steps} steps from {plan.low:g} to {plan.high:g}, {plan.shape}")
    raised = range_experiment(experiment, plan, search.allow_code)
    for path in discard_range_tests(raised, search.quick, search.runs_dir):
        yield Notice(f"{path}, which was stopped in its range test, begins anew")
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
            finding = yield from _read(experiment, search, plan, test, keys, total)
        except NoAnswer as error:
            write_refusal(test.path, str(error))
            raise
        if finding is not None:
            finding.write()
    if finding is not None:
        yield finding


def _range_plan(search: Search, total: int) -> RangePlan:
    """The range test to make; raises UsageError where it would take the whole budget."""
    shape: Shape = "linear" if search.linear else "exponential"
    steps = usual_steps(total) if search.steps is None else search.steps
    plan = RangePlan(search.low, search.high, steps, shape)
    most = most_steps(total, search.budget)
    if not search.quick and steps >= most:
        raise UsageError(
            f"--budget {most / total:g}: the range test alone takes {steps / total:.2g} runs' "
            "steps; give more, or --quick"
        )
    return plan


def _read(
    experiment: Experiment,
    search: Search,
    tested: RangePlan,
    test: RangeTest,
    keys: tuple[str, ...],
    total: int,
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
        return by_rule(test, tested, rules, keys, Cost(test.steps, 0, total))
    confirmer = _confirmer(experiment, search, test, total)
    plan = _search_plan(experiment, search, test, rules, confirmer)
    results = yield from _confirm(confirmer, plan)
    if results is None:
        return None
    if not results:
        finding = by_rule(test, tested, rules, keys, Cost(test.steps, 0, total))
        return replace(finding, caution=f"the range test took the budget; {finding.caution}")
    return by_runs(test, tested, rules, keys, plan, results)


def _confirmer(experiment: Experiment, search: Search, test: RangeTest, total: int) -> Confirmer:
    """What trains the runs of the search, but for those that it has made before it was stopped."""
    trials = test.path / "trials"
    return Confirmer(
        experiment,
        total,
        trials,
        {"command": search.command, "find": test.path.name},
        search.stop,
        search.allow_code,
        search.train_many,
        finished_trials(trials),
    )


def _search_plan(
    experiment: Experiment,
    search: Search,
    test: RangeTest,
    rules: dict[str, float],
    confirmer: Confirmer,
) -> SearchPlan:
    """From what the rules suggest and the budget that the range test has left."""
    suggested = [lr for rule, lr in rules.items() if rule != "edge"]
    total = confirmer.total_steps
    most = most_steps(total, search.budget, test.seconds_per_step)
    return SearchPlan(
        low=min(suggested) / BELOW,
        high=rules.get("edge", max(suggested)),
        budget=(most - test.steps) / total,
        total_steps=total,
        seed=experiment.seeds[0],
        allowed=_allowed(confirmer, min(suggested) / BELOW, max(suggested)),
        lost=lost_from(experiment, test),
    )


def _confirm(
    confirmer: Confirmer, plan: SearchPlan
) -> Generator[Notice, None, list[Result] | None]:
    """Run what the search asks for until it asks no more; None where a signal interrupted it."""
    results: list[Result] = []
    while trials := next_trials(plan, results):
        yield Notice(_said(trials, plan))
        made = yield from confirmer.run(trials)
        if made is None:
            return None
        results += made
    return results


def _said(trials: Sequence[Trial], plan: SearchPlan) -> str:
    lrs = [trial.lr for trial in trials]
    steps = plan.steps(trials[0].scale)
    some = f"{min(lrs):g}" if len(lrs) == 1 else f"{min(lrs):g} to {max(lrs):g}"
    length = "full length" if trials[0].scale == 1 else f"{trials[0].scale:.0%} of the length"
    plural = "s" if len(lrs) > 1 else ""
    seeds = ", ".join(str(seed) for seed in sorted({trial.seed for trial in trials}))
    return f"confirm: {len(lrs)} run{plural} of {steps} steps ({length}) at LR {some}, seed {seeds}"


def _allowed(confirmer: Confirmer, low: float, high: float) -> tuple[float, float]:
    """The LRs that the config can have, of those around the ones from `low` to `high`."""
    first, last = place_of(low) - 24, place_of(high) + 24
    lrs = [lr for lr in map(lr_at, range(first, last + 1)) if confirmer.allows(lr)]
    if not lrs:
        raise NoAnswer(f"the config allows no learning rate between {low:.3g} and {high:.3g}")
    return min(lrs), max(lrs)


def total_steps(experiment: Experiment) -> int:
    """Updates of one run of the experiment; somebody's own dataset is loaded to know it."""
    clock = check_if_known(experiment)
    if clock is None:
        from lrrun.training.preparation import prepare

        clock = prepare(experiment).clock
    return clock.units.total_steps

"""What a sweep will cost, known before anything of it runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from lrrun.config.check import check_if_known
from lrrun.config.experiment import Experiment
from lrrun.errors import ConfigError
from lrrun.search import halving
from lrrun.search.chunks import chunks_of, reasons
from lrrun.search.design import PlannedTrial
from lrrun.search.grid import seeds_of
from lrrun.search.plan import Chunk, Plan
from lrrun.search.trials import experiment_of, refusal


@dataclass(frozen=True)
class Outline:
    """A sweep's plan in numbers.

    `trials` are all that the sweep will have, `steps` the updates of all of them; None where the
    data's size is not known beforehand. `first` are the chunks known beforehand (all there are,
    but for TPE and halving); `apart` says why trials cannot be fused, `refused` which
    combinations cannot be trained, by reason. `full_runs` is the cost in runs of the whole config,
    `pattern` a trial that stands for all.
    """

    trials: int
    steps: int | None
    full_runs: float
    first: tuple[Chunk, ...]
    apart: tuple[str, ...]
    refused: Mapping[str, int]
    pattern: Experiment | None = None


def outline(plan: Plan, allow_code: bool) -> Outline:
    """What `plan` will cost; nothing is trained, written or imported."""
    refused: Counter[str] = Counter()
    experiments: dict[int, Experiment] = {}
    for trial in _known_beforehand(plan):
        try:
            experiments[trial.number] = experiment_of(plan, trial, allow_code)
        except ConfigError as error:
            refused[refusal(error)] += 1
    found = list(experiments.values())
    runs = _full_runs(plan, len(found))
    return Outline(
        trials=plan.design.total(),
        steps=_steps(plan, found, runs),
        full_runs=runs,
        first=tuple(chunks_of(experiments, plan.chunk, plan.workers)),
        apart=tuple(reasons(found)) if plan.chunk > 1 else (),
        refused=dict(refused),
        pattern=found[0] if found else None,
    )


def _known_beforehand(plan: Plan) -> list[PlannedTrial]:
    """The trials that do not depend on results: all, or the first batch of TPE and halving."""
    known = plan.design.batch(0, [], {})
    if plan.design.chosen:
        return known
    for index in range(1, len(plan.design.extensions) + 1):
        known += plan.design.batch(index, known, {})
    return known


def _full_runs(plan: Plan, known: int) -> float:
    """The cost of all trials in whole runs."""
    if not plan.design.method.halving:
        return known if plan.design.method.name == "grid" else plan.design.total()
    seeds = max(1, len(seeds_of(plan.design.axes)))
    return seeds * sum(
        size * scale
        for bracket in halving.brackets(plan.design)
        for size, scale in zip(bracket.sizes, bracket.scales, strict=True)
    )


def _steps(plan: Plan, experiments: list[Experiment], runs: float) -> int | None:
    clocks = [check_if_known(each) for each in experiments]
    steps = [clock.units.total_steps for clock in clocks if clock is not None]
    if len(steps) < len(clocks) or not steps:
        return None
    if not plan.design.chosen:
        return sum(steps)
    scale = halving.brackets(plan.design)[0].scales[0] if plan.design.method.halving else 1.0
    return round(runs * sum(steps) / len(steps) / scale)

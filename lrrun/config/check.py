"""What can be known of an experiment without training: model, data, horizon and schedule agree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from lrrun.config.base import METRICS, DataFacts
from lrrun.config.clock import Clock, evaluations
from lrrun.config.experiment import Experiment
from lrrun.config.optimizers import DEFAULT
from lrrun.config.plans import plan_co_schedules, plan_schedules, written_lrs
from lrrun.errors import ConfigError, KeyPath, Problem
from lrrun.registry import unknown
from lrrun.schedules.base import Schedule
from lrrun.schedules.lint import lint


def check_if_known(experiment: Experiment) -> Clock | None:
    """`check`, as far as the dataset can be known without running somebody's code."""
    facts = experiment.dataset.facts(experiment.folder)
    return None if facts is None else check(experiment, facts)


def check(experiment: Experiment, facts: DataFacts) -> Clock:
    """Cross-check an experiment with its dataset; the run's clock if all is well.

    Raises ConfigError with every problem found: a model that cannot take the data, a batch larger
    than the data, a schedule that does not fit the run.
    """
    problems: list[Problem] = []
    problems += experiment.model.problems(facts)
    problems += _unknown_metrics(experiment, facts)
    batch_size = experiment.dataset.batch_size
    if batch_size > facts.train_rows:
        text = f"{batch_size} is more than the {facts.train_rows} training rows"
        problems.append(Problem(("dataset", "batch_size"), text))
    try:
        clock = experiment.clock(facts)
        planned = plan_schedules(experiment, clock.units, written_lrs(experiment))
        problems += _undriven_momentum(experiment, planned[DEFAULT])
        problems += _parted_momentum(experiment, planned)
        plan_co_schedules(experiment, clock.units)
    except ConfigError as error:
        problems += error.problems
    if problems:
        raise ConfigError(experiment.document.locate(problems))
    return clock


def _parted_momentum(experiment: Experiment, planned: Mapping[str, Schedule]) -> Iterator[Problem]:
    """Schedules that drive the momentum, which all groups share, beside schedules that do not."""
    if not experiment.group_parts:
        return
    for label in (DEFAULT, *experiment.group_parts):
        if planned[label].momentum(np.arange(1)) is not None:
            parts = experiment.group_parts.get(label, experiment.parts)
            text = (
                "it drives the momentum, which all param groups share, and they follow several "
                "schedules; write cycle_momentum: false"
            )
            yield Problem(parts[0].path, text)


def _undriven_momentum(experiment: Experiment, schedule: Schedule) -> list[Problem]:
    """A schedule that drives the momentum, under an optimizer that has none."""
    spec = experiment.optimizer
    driven = schedule.momentum(np.arange(1)) is not None
    if driven and "momentum" in experiment.co_schedules:
        text = "the scheduler drives the momentum already; write cycle_momentum: false there"
        return [Problem(("co_schedules", "momentum"), text)]
    if not driven or spec.is_custom or spec.momentum_key:
        return []
    text = f"it drives the momentum, and {spec.name} has none; write cycle_momentum: false"
    return [Problem(("scheduler",), text)]


def _unknown_metrics(experiment: Experiment, facts: DataFacts) -> list[Problem]:
    """Metrics that something listens to and that this task does not measure."""
    known = ("train_loss", *METRICS[facts.task])
    listened: dict[KeyPath, str] = {
        (*part.path, "metric"): part.arguments["metric"]
        for parts in (experiment.parts, *experiment.group_parts.values())
        for part in parts
        if "metric" in part.arguments
    }
    if experiment.train.early_stopping is not None:
        path = ("train", "early_stopping", "metric")
        listened[path] = experiment.train.early_stopping.metric
    return [
        Problem(path, unknown("metric", metric, known))
        for path, metric in listened.items()
        if metric not in known
    ]


def findings(experiment: Experiment, clock: Clock) -> list[Problem]:
    """What is probably not meant in the schedules, by the LRs they give: lint, with file and line.

    Groups that have a schedule of their own are looked at each for itself.
    """
    lrs = written_lrs(experiment)
    planned = plan_schedules(experiment, clock.units, lrs)
    sections = {DEFAULT: experiment.parts, **experiment.group_parts}
    found = [
        finding
        for label, parts in sections.items()
        for finding in lint(
            planned[label],
            parts,
            clock.units,
            beta2=experiment.optimizer.beta2,
            evaluations=evaluations(experiment.train, clock),
        )
    ]
    return experiment.document.locate(Problem(each.path, each.message) for each in found)

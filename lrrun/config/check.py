"""What can be known of an experiment without training: model, data, horizon and schedule agree."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lrrun.config.base import METRICS, DataFacts
from lrrun.config.experiment import Experiment
from lrrun.errors import ConfigError, KeyPath, Problem
from lrrun.registry import unknown
from lrrun.schedules.base import Schedule
from lrrun.schedules.spec import build
from lrrun.units import Units


def check_if_known(experiment: Experiment) -> Units | None:
    """`check`, as far as the dataset can be known without running somebody's code."""
    facts = experiment.dataset.facts(experiment.folder)
    return None if facts is None else check(experiment, facts)


def check(experiment: Experiment, facts: DataFacts) -> Units:
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
        units = experiment.train.units(facts, batch_size)
        planned = plan_schedules(experiment, units, {"default": experiment.base_lr})
        problems += _undriven_momentum(experiment, planned["default"])
    except ValueError as error:
        problems.append(Problem(("train", "tokens"), str(error)))
    except ConfigError as error:
        problems += error.problems
    if problems:
        raise ConfigError(experiment.document.locate(problems))
    return units


def _undriven_momentum(experiment: Experiment, schedule: Schedule) -> list[Problem]:
    """A schedule that drives the momentum, under an optimizer that has none."""
    spec = experiment.optimizer
    if spec.is_custom or spec.momentum_key or schedule.momentum(np.arange(1)) is None:
        return []
    text = f"it drives the momentum, and {spec.name} has none; write cycle_momentum: false"
    return [Problem(("scheduler",), text)]


def _unknown_metrics(experiment: Experiment, facts: DataFacts) -> list[Problem]:
    """Metrics that something listens to and that this task does not measure."""
    known = ("train_loss", *METRICS[facts.task])
    listened: dict[KeyPath, str] = {
        (*part.path, "metric"): part.arguments["metric"]
        for part in experiment.parts
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


def plan_schedules(
    experiment: Experiment, units: Units, base_lrs: Mapping[str, float]
) -> Mapping[str, Schedule]:
    """The schedule of every param group; `base_lrs` maps a group's name to its base LR.

    Raises ConfigError, with file and line, when the schedule does not fit the run.
    """
    try:
        return {
            name: build(experiment.parts, base_lr, units, group)
            for group, (name, base_lr) in enumerate(base_lrs.items())
        }
    except ConfigError as error:
        raise ConfigError(experiment.document.locate(error.problems)) from None

"""The schedules of a run: of every param group's LR, and of what is scheduled beside it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lrrun.config.experiment import Experiment
from lrrun.config.optimizers import DEFAULT, OptimizerSpec
from lrrun.errors import ConfigError, Problem
from lrrun.schedules.base import Schedule
from lrrun.schedules.spec import build
from lrrun.units import Units

DRIVEN = ("momentum", "weight_decay", "batch_size")
"""What can be scheduled beside the LR, in the order of the log's columns."""


def plan_schedules(
    experiment: Experiment,
    units: Units,
    base_lrs: Mapping[str, float],
    labels: Mapping[str, str] | None = None,
) -> dict[str, Schedule]:
    """The schedule of every param group: its own where the config gives it one, else the run's.

    `base_lrs` maps a param group's name to its base LR. `labels` maps it to the label of the
    config's group that it is a piece of; where it is left out, `base_lrs` has the config's groups
    themselves, and how many param groups they become is not known.

    Raises ConfigError, with file and line, with every schedule that does not fit the run.
    """
    planned: dict[str, Schedule] = {}
    problems: list[Problem] = []
    for index, (name, base_lr) in enumerate(base_lrs.items()):
        label = labels[name] if labels else name
        parts = experiment.group_parts.get(label, experiment.parts)
        place = (index, len(base_lrs)) if labels else (0, None)
        try:
            planned[name] = build(parts, base_lr, units, *place)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(experiment.document.locate(problems))
    return planned


def plan_co_schedules(experiment: Experiment, units: Units) -> dict[str, Schedule]:
    """The schedules of momentum and weight decay, each from the optimizer's own value as its base.

    The batch size is not among them: it sets the clock. Raises ConfigError where the optimizer has
    no such number, or its schedule does not fit the run.
    """
    bases = {
        "momentum": _momentum(experiment.optimizer),
        "weight_decay": experiment.optimizer.argument("weight_decay"),
    }
    planned, problems = {}, []
    for name, base in bases.items():
        parts = experiment.co_schedules.get(name)
        if parts is None:
            continue
        path = ("co_schedules", name)
        if not base:
            text = f"optimizer.{name} is not set; write there what 100% means here"
            problems.append(Problem(path, text))
            continue
        try:
            planned[name] = build(parts, float(base), units)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(experiment.document.locate(problems))
    return planned


def _momentum(spec: OptimizerSpec) -> float | None:
    """The momentum, or Adam's beta1; None where the optimizer has neither."""
    value = spec.argument(spec.momentum_key) if spec.momentum_key else None
    return float(value[0]) if isinstance(value, (list, tuple)) else value


def driven_names(experiment: Experiment, schedule: Schedule) -> tuple[str, ...]:
    """What the run schedules beside the LR, in the order of the log's columns."""
    driven = set(experiment.co_schedules)
    if schedule.momentum(np.arange(1)) is not None:
        driven.add("momentum")
    return tuple(name for name in DRIVEN if name in driven)


def written_lrs(experiment: Experiment) -> dict[str, float]:
    """The base LR of each group that the config writes, and of all other parameters."""
    base_lr = experiment.base_lr
    groups = enumerate(experiment.optimizer.groups, start=1)
    own = {group.label(position): base_lr * group.lr_factor for position, group in groups}
    return {DEFAULT: base_lr, **own}

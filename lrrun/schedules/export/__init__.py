"""A schedule taken elsewhere: as a snippet of code that needs nothing of ours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import numpy as np

from lrrun.errors import UsageError
from lrrun.registry import unknown
from lrrun.schedules.base import Array, Schedule, ScheduleEnded
from lrrun.schedules.export.blocks import blocks
from lrrun.schedules.export.code import number
from lrrun.schedules.export.pieces import pieces
from lrrun.schedules.export.snippets import WRITERS, Target
from lrrun.schedules.placement import PartSpec
from lrrun.schedules.spec import build
from lrrun.units import Units

__all__ = ["TARGETS", "Target", "export"]

TARGETS: tuple[Target, ...] = get_args(Target)


def export(parts: Sequence[PartSpec], lr: float, units: Units, target: str, title: str) -> str:
    r"""A self-contained snippet that gives the schedule's LR at every step of a run.

    `parts` are what `parse` gave, `lr` is the base LR, `units` holds the run's length T, and
    `title`, the spec as the user wrote it, stands in the first line. `target` is python (a function
    lr(step)), torch (the same and a LambdaLR), keras (a LearningRateSchedule) or optax (a function
    of a count). The values are the schedule's: in python and torch but for the last bits of
    float64, in keras and optax but for those of float32, which counts steps exactly up to
    16 777 216. Past step T a snippet stays at its last value, whatever library the schedule is of;
    momentum is left alone.

    Raises ConfigError where the parts do not fit the run, and UsageError for another target, for a
    schedule that depends on metrics, for torch at a base LR of 0, and where only a very long list
    of values would do.

    >>> from lrrun.schedules import parse
    >>> parts = parse({"name": "cosine", "warmup": "10%"})
    >>> snippet = export(parts, 0.1, Units(100), "python", "cosine warmup=10%")
    >>> print("\n".join(snippet.splitlines()[-4:]))
        step = min(step, 100)
        if step < 10:
            return 0.1 * (step + 1) / 11
        return 0.1 * 0.5 * (1 + math.cos(math.pi * (step - 10) / 90))
    """
    if target not in WRITERS:
        raise UsageError(unknown("target", target, TARGETS))
    if target == "torch" and lr == 0:
        raise UsageError("torch's LambdaLR multiplies the base LR, which is 0: nothing to export")
    schedule = build(parts, lr, units)
    if schedule.state():
        raise UsageError(
            "this schedule listens to a metric, and no function of the step does; "
            "lrrun.torch_scheduler takes it into any PyTorch loop"
        )
    values = _values(schedule, units.total_steps)
    found = blocks(pieces(build(parts, lr, units), values))
    body = WRITERS[target](found, len(values) - 1, lr)
    shown = " ".join(title.split())
    left_alone = ""
    if schedule.momentum(np.arange(units.total_steps)) is not None:
        left_alone = "# The schedule drives the momentum as well; this is its LR alone.\n"
    return f"# {shown}: {units.total_steps} steps, base LR {number(lr)}\n{left_alone}{body}"


def _values(schedule: Schedule, steps: int) -> Array:
    """The LR of every step, and of the one past the last where the schedule has one; [T] or [T+1].

    Raises ScheduleEnded where the schedule ends within the run.
    """
    try:
        return schedule(np.arange(steps + 1))
    except ScheduleEnded:
        return schedule(np.arange(steps))

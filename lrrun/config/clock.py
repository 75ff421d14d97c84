"""A run's clock: how many updates it has, and which training rows each of them takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lrrun.batches import Batches, EvenBatches, RampedBatches
from lrrun.config.base import DataFacts
from lrrun.config.train import Train
from lrrun.errors import ConfigError, Problem
from lrrun.schedules.placement import PartSpec
from lrrun.schedules.spec import build
from lrrun.units import Units

RAMP = ("co_schedules", "batch_size")
"""Where a config schedules the batch size."""


@dataclass(frozen=True)
class Clock:
    """The units of the run's lengths, and the rows of its updates."""

    units: Units
    batches: Batches


def make_clock(
    train: Train, facts: DataFacts, batch_size: int, ramp: Sequence[PartSpec] = ()
) -> Clock:
    """The clock of a run whose updates take `batch_size · accumulate` rows, or as `ramp` says.

    The last, partial update of an epoch counts. Raises ConfigError where the horizon is in tokens
    and the dataset has none, or the ramp asks for more rows than there are.
    """
    even = EvenBatches(facts.train_rows, batch_size * train.accumulate)
    tokens = facts.tokens_per_row and facts.tokens_per_row * facts.train_rows
    if train.tokens is not None and not tokens:
        text = "this dataset has no tokens; give epochs or steps"
        raise ConfigError([Problem(("train", "tokens"), text)])
    total = _even_steps(train, even, tokens)
    units = Units(total, even.steps_per_epoch, facts.train_rows, tokens, train.scale)
    return _ramped(train, units, even, ramp) if ramp else Clock(units, even)


def evaluations(train: Train, clock: Clock) -> int:
    """How often the run looks at its metrics: every so often, or at each epoch's end, and last."""
    units, total = clock.units, clock.units.total_steps
    if train.evaluate is None:
        return clock.batches.at(total - 1)[0] + 1
    return max(1, math.ceil(total / max(1.0, units.exact_steps(train.evaluate))))


def _even_steps(train: Train, even: EvenBatches, tokens: int | None) -> int:
    """The horizon in updates of one size, at least one."""
    if train.tokens is not None and tokens:
        total = round(train.tokens / tokens * even.steps_per_epoch)
    else:
        total = train.steps or (train.epochs or 0) * even.steps_per_epoch
    return max(1, round(total * train.scale))


def _ramped(train: Train, units: Units, even: EvenBatches, ramp: Sequence[PartSpec]) -> Clock:
    """The clock of a run whose batch grows.

    The ramp is a schedule of the rows an update takes, counted in updates of the full size: its
    step u is the moment at which u · size rows have been seen. So its percents are shares of the
    data, and its tokens are tokens, however the updates fall.
    """
    nominal = build(ramp, float(even.size), units)(np.arange(units.total_steps + 1))
    sizes = np.maximum(1, np.rint(nominal)).astype(np.int64)
    if sizes.max() > even.rows:
        text = f"asks for {sizes.max()} rows an update, and there are {even.rows} training rows"
        raise ConfigError([Problem(RAMP, text)])
    last = len(sizes) - 1
    rows = None if train.steps else math.ceil(_horizon_rows(train, units, even))
    batches = RampedBatches.plan(
        even.rows,
        lambda seen: int(sizes[min(seen // even.size, last)]),
        total_steps=units.total_steps if rows is None else None,
        total_rows=rows,
    )
    ramped = Units(
        len(batches.counts),
        None,
        units.samples_per_epoch,
        units.tokens_per_epoch,
        units.scale,
        batches.rows_before,
    )
    return Clock(ramped, batches)


def _horizon_rows(train: Train, units: Units, even: EvenBatches) -> float:
    """The horizon in training rows, of a run that is given in epochs or tokens."""
    if train.tokens is not None and units.tokens_per_epoch:
        epochs = train.tokens / units.tokens_per_epoch
    else:
        epochs = float(train.epochs or 0)
    return epochs * even.rows * train.scale

"""The numbers that the schedules give the optimizer, computed ahead for a stretch of steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lrrun.batches import Batches
from lrrun.schedules.base import Schedule


@dataclass(frozen=True, slots=True)
class Cut:
    """From step `begin` on, every LR is `factor` times what its schedule says: a rewind's doing."""

    begin: int
    factor: float


@dataclass(frozen=True)
class Rates:
    """Plain floats for the steps from `first` on: `lr[k]` has one entry a param group.

    `driven` holds what is scheduled beside the LR, by name (momentum, weight_decay, batch_size),
    one entry a step; nan where a schedule leaves it alone.
    """

    first: int
    lr: list[tuple[float, ...]]
    driven: Mapping[str, list[float]]

    def lr_at(self, step: int) -> tuple[float, ...]:
        """The LR of each param group at a step of the stretch."""
        return self.lr[step - self.first]

    def driven_at(self, step: int) -> dict[str, float]:
        """What is driven at a step of the stretch."""
        return {name: values[step - self.first] for name, values in self.driven.items()}

    @classmethod
    def of(
        cls,
        schedules: Mapping[str, Schedule],
        co_schedules: Mapping[str, Schedule],
        batches: Batches | None,
        first: int,
        last: int,
        cuts: Sequence[Cut] = (),
    ) -> Rates:
        """Evaluate each schedule once over first..last-1; `batches` if their size is scheduled."""
        steps = np.arange(first, last)
        left = np.ones(len(steps))
        for cut in cuts:
            left[steps >= cut.begin] *= cut.factor
        lrs = [(schedule(steps) * left).tolist() for schedule in schedules.values()]
        driven = {name: each(steps).tolist() for name, each in co_schedules.items()}
        momentum = next(iter(schedules.values())).momentum(steps)
        if momentum is not None:
            driven["momentum"] = momentum.tolist()
        if batches is not None:
            driven["batch_size"] = [float(batches.at(step)[2]) for step in steps.tolist()]
        return cls(first, list(zip(*lrs, strict=True)), driven)

"""The numbers that every step of a stretch gives the stacked optimizer, ready on its device.

Shape suffixes: S steps, G param groups, K replicas.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lrrun.schedules.base import Array
from lrrun.training.fused.columns import Columns
from lrrun.training.fused.optimizers import FusedOptimizer
from lrrun.training.trainee import Trainee
from lrrun.training.update import decay_ratios

MOMENTUM, DECAY = "momentum", "weight_decay"


Names = tuple[tuple[int, str], ...]
"""Numbers of an update: of which param group, and what the optimizer calls them."""


@dataclass(frozen=True)
class Numbers:
    """LRs (S, G, K) and, where any replica schedules them, momenta and weight decays alike; by
    what the optimizer calls them.
    """

    values: Mapping[str, Tensor]

    def give(self, optimizer: FusedOptimizer, at: int) -> None:
        """Set those of the stretch's step `at`."""
        for name, values_SGK in self.values.items():
            for group, values_K in enumerate(values_SGK[at]):
                optimizer.set(group, name, values_K)

    @property
    def names(self) -> Names:
        """Of the rows of `table`."""
        lists = self.values.items()
        return tuple((group, name) for name, each in lists for group in range(each.shape[1]))

    def table(self, before_MK: Array) -> Tensor:
        """All numbers of every step (S, M + N, K), behind M rows that are the same at every one."""
        first = next(iter(self.values.values()))
        before_SMK = torch.from_numpy(before_MK).to(first).expand(len(first), *before_MK.shape)
        return torch.cat([before_SMK, *self.values.values()], 1)


class Driver:
    """Turns the schedules of K replicas into numbers; remembers momenta that are left alone.

    A schedule may drive the momentum at some steps only: at others it keeps its last value.
    """

    def __init__(
        self,
        trainees: Sequence[Trainee],
        states: Sequence[Mapping[str, Any]],
        device: torch.device,
    ) -> None:
        """`states` are of the optimizers, with the numbers that the step before has used."""
        groups = trainees[0].optimizer.param_groups
        self.device = device
        self._beta = "betas" in groups[0]
        self._momentum_GK = _table(states, self._momentum)
        self._decay_GK = _table(states, lambda group: group.get(DECAY, 0.0))
        self._ratio_GK = np.array([decay_ratios(each.optimizer) for each in trainees]).T

    def numbers(self, columns: Sequence[Columns]) -> Numbers:
        """Those of one stretch, given every replica's columns."""
        values = {"lr": self._on_device(np.stack([each.lr for each in columns], -1))}
        if _drive(columns, MOMENTUM):
            values["beta1" if self._beta else MOMENTUM] = self._momenta(columns)
        if _drive(columns, DECAY):
            values[DECAY] = self._decays(columns)
        return Numbers(values)

    def _momenta(self, columns: Sequence[Columns]) -> Tensor:
        steps, groups = columns[0].lr.shape
        values_SGK: Array = np.tile(self._momentum_GK, (steps, 1, 1))
        for k, each in enumerate(columns):
            if MOMENTUM in each.driven:
                driven_S = each.driven[MOMENTUM]
                last = np.maximum.accumulate(np.where(np.isnan(driven_S), -1, np.arange(steps)))
                driven_SG = np.repeat(driven_S[last][:, None], groups, 1)
                values_SGK[:, :, k] = np.where(
                    last[:, None] < 0, self._momentum_GK[:, k], driven_SG
                )
        self._momentum_GK = values_SGK[-1]
        return self._on_device(values_SGK)

    def _decays(self, columns: Sequence[Columns]) -> Tensor:
        steps = len(columns[0].lr)
        values_SGK: Array = np.tile(self._decay_GK, (steps, 1, 1))
        for k, each in enumerate(columns):
            if DECAY in each.driven:
                values_SGK[:, :, k] = each.driven[DECAY][:, None] * self._ratio_GK[:, k]
        return self._on_device(values_SGK)

    def _momentum(self, group: Mapping[str, Any]) -> float:
        return float(group["betas"][0] if self._beta else group.get(MOMENTUM, 0.0))

    def _on_device(self, values: Array) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.device)


def _drive(columns: Sequence[Columns], name: str) -> bool:
    """Does any replica schedule this in the stretch? A part of a schedule may, and others not."""
    return any(name in each.driven for each in columns)


def _table(states: Sequence[Mapping[str, Any]], of: Callable[[dict[str, Any]], float]) -> Array:
    """One number of every param group of every optimizer (G, K)."""
    numbers_KG = [[of(group) for group in each["param_groups"]] for each in states]
    return np.stack([np.array(of_one, np.float64) for of_one in numbers_KG], -1)

"""What a loop shows of itself so that its state can be saved: a loop of one model, or a replica."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from lrrun.schedules.base import Schedule
from lrrun.training.tally import Tally
from lrrun.training.watch import DivergenceWatch, EarlyStop


class Stateful(Protocol):
    """Something with a state, as torch's optimizers and moving averages have one."""

    def state_dict(self) -> dict[str, Any]:
        """The state, as plain data and tensors."""
        ...


class Weights(Stateful, Protocol):
    """A model, or one of a stack."""

    def parameters(self) -> Iterable[Tensor]:
        """What it learns."""
        ...


class StandingTrainee(Protocol):
    """What is being trained, at `step` updates done."""

    step: int
    samples: int

    @property
    def device(self) -> torch.device:
        """Where it is."""
        ...

    @property
    def model(self) -> Weights:
        """Its weights."""
        ...

    @property
    def optimizer(self) -> Stateful:
        """Its optimizer."""
        ...

    @property
    def ema(self) -> Stateful | None:
        """The moving average of its weights, where it has one."""
        ...

    @property
    def scaler(self) -> Stateful | None:
        """The loss scale, where it has one."""
        ...

    @property
    def schedules(self) -> Mapping[str, Schedule]:
        """The schedule of every param group, by name."""
        ...

    @property
    def co_schedules(self) -> Mapping[str, Schedule]:
        """Of momentum and weight decay."""
        ...

    @property
    def evaluated_weights(self) -> Mapping[str, Tensor]:
        """The weights that evaluations look at."""
        ...


class StandingUpdates(Protocol):
    """What is remembered from one update to the next."""

    tally: Tally
    skips: int
    trail: str

    @property
    def watch(self) -> DivergenceWatch:
        """What has seen the losses so far."""
        ...


class Standing(Protocol):
    """A loop between two updates."""

    row_at: int

    @property
    def trainee(self) -> StandingTrainee:
        """What it trains."""
        ...

    @property
    def updates(self) -> StandingUpdates:
        """What it remembers of its updates."""
        ...

    @property
    def early_stop(self) -> EarlyStop | None:
        """What counts its evaluations, where something does."""
        ...

    @property
    def at_rest(self) -> bool:
        """Has everything been handed out that is due at its step?"""
        ...

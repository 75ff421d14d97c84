"""One of the models of a stack, as the checkpoints and the log see it: like a loop of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lrrun.schedules.base import Schedule
from lrrun.training.preparation import Prepared
from lrrun.training.tally import Tally
from lrrun.training.timetable import Timetable
from lrrun.training.watch import DivergenceWatch, EarlyStop

if TYPE_CHECKING:
    from lrrun.training.fused.updates import FusedUpdates


@dataclass
class Place:
    """Where a replica stands: at `k` of its stack, which it joins before its first update."""

    joined: FusedUpdates | None = None
    k: int = 0

    @property
    def stack(self) -> FusedUpdates:
        """The stack that it has joined."""
        assert self.joined is not None
        return self.joined


@dataclass(frozen=True)
class ReplicaModel:
    """Its weights."""

    place: Place

    def state_dict(self) -> dict[str, Any]:
        """As its own module would give it."""
        return self.place.stack.model.state_dict(self.place.k)

    def parameters(self) -> Iterable[Tensor]:
        """What it learns."""
        return self.place.stack.model.parameters(self.place.k).values()


@dataclass(frozen=True)
class ReplicaOptimizer:
    """Its optimizer's state."""

    place: Place

    def state_dict(self) -> dict[str, Any]:
        """As its own torch optimizer would give it."""
        return self.place.stack.optimizer.state_dict(self.place.k)


@dataclass(frozen=True)
class ReplicaEma:
    """Its moving average."""

    place: Place

    def state_dict(self) -> dict[str, Any]:
        """As torch's AveragedModel would give it."""
        ema = self.place.stack.ema
        assert ema is not None
        return ema.state_dict(self.place.k)


@dataclass
class ReplicaTrainee:
    """What of it is trained, at `step` updates done."""

    prepared: Prepared
    place: Place
    step: int = 0
    samples: int = 0
    scaler: None = None

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return self.prepared.trainee.device

    @property
    def schedules(self) -> Mapping[str, Schedule]:
        """One entry a param group, by name."""
        return self.prepared.trainee.schedules

    @property
    def co_schedules(self) -> Mapping[str, Schedule]:
        """Of momentum and weight decay."""
        return self.prepared.trainee.co_schedules

    @property
    def model(self) -> ReplicaModel:
        """Its weights."""
        return ReplicaModel(self.place)

    @property
    def optimizer(self) -> ReplicaOptimizer:
        """Its optimizer's state."""
        return ReplicaOptimizer(self.place)

    @property
    def ema(self) -> ReplicaEma | None:
        """Its moving average, where it has one."""
        return None if self.place.stack.ema is None else ReplicaEma(self.place)

    @property
    def evaluated_weights(self) -> dict[str, Tensor]:
        """The weights that evaluations look at, by the model's own names: views."""
        stack = self.place.stack
        averages = None if stack.ema is None else stack.ema.averages
        return stack.model.views(self.place.k, averages)


@dataclass
class ReplicaUpdates:
    """What it remembers from one update to the next."""

    own_watch: DivergenceWatch
    place: Place
    tally: Tally = field(default_factory=Tally)
    skips: int = 0
    trail: str = ""

    @property
    def watch(self) -> DivergenceWatch:
        """Its watch, brought up to date."""
        if self.place.joined is not None:
            self.place.joined.watches.save(self.place.k)
        return self.own_watch


class Replica:
    """A replica of a fused run, by its index among all that are trained together."""

    def __init__(self, index: int, prepared: Prepared, timetable: Timetable) -> None:
        settings = prepared.experiment.train
        self.index = index
        self.prepared = prepared
        self.timetable = timetable
        self.place = Place()
        self.trainee = ReplicaTrainee(prepared, self.place)
        watch = DivergenceWatch(settings.divergence_factor, settings.spike_factor)
        self.updates = ReplicaUpdates(watch, self.place)
        self.early_stop = EarlyStop(settings.early_stopping) if settings.early_stopping else None
        self.row_at = 0
        self.handed = True

    @property
    def at_rest(self) -> bool:
        """Has everything been handed out that is due at its step?"""
        step = self.trainee.step
        return self.handed and not (step != self.row_at and self.timetable.row_is_due(step))

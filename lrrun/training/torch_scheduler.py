"""Our schedules in anybody's loop: a scheduler as torch, Lightning and transformers expect one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lrrun.errors import UsageError
from lrrun.schedules import Schedule, build, parse
from lrrun.units import Units


def torch_scheduler(
    optimizer: Optimizer,
    spec: object,
    *,
    steps: int,
    steps_per_epoch: int | None = None,
    tokens_per_epoch: int | None = None,
    samples_per_epoch: int | None = None,
    **arguments: object,
) -> TorchScheduler:
    """A torch scheduler that follows a spec (a name, a mapping or a list) over `steps` updates.

    Call its `step()` after every `optimizer.step()`. A param group's base LR is the `lr` that it
    was made with. `steps_per_epoch`, `tokens_per_epoch` and `samples_per_epoch` give the other
    units of length their meaning; further keyword arguments are the schedule's own. Plateau parts
    learn of a metric by `observe`. Raises ConfigError for a spec that makes no sense.

    >>> import torch
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    >>> scheduler = torch_scheduler(optimizer, "linear", steps=5, warmup=1)
    >>> for _ in range(3):
    ...     optimizer.step()
    ...     scheduler.step()
    >>> scheduler.get_last_lr(), scheduler.state_dict()
    ([0.05], {'step': 3})
    """
    if arguments and not isinstance(spec, (str, Mapping)):
        raise TypeError("keyword arguments belong to a schedule given by name or as a mapping")
    if isinstance(spec, (str, Mapping)):
        spec = {**({"name": spec} if isinstance(spec, str) else spec), **arguments}
    units = Units(steps, steps_per_epoch, samples_per_epoch, tokens_per_epoch)
    parts = parse(spec, path=())
    bases = [float(group.get("initial_lr", group["lr"])) for group in optimizer.param_groups]
    schedules = [build(parts, base, units, group) for group, base in enumerate(bases)]
    return TorchScheduler(optimizer, schedules)


class TorchScheduler(LRScheduler):
    """Writes into every param group the LR that its schedule has for the next update.

    `last_epoch` is, as in all torch schedulers that are stepped once an update, how many updates
    were made. Where a schedule drives the momentum (or Adam's beta1), that is written as well.
    """

    def __init__(self, optimizer: Optimizer, schedules: list[Schedule]) -> None:
        """One schedule a param group; raises UsageError where one drives a momentum not there."""
        self.schedules = schedules
        for schedule, group in zip(schedules, optimizer.param_groups, strict=True):
            if _momentum(schedule, 0) is not None and not {"betas", "momentum"} & set(group):
                name = type(optimizer).__name__
                raise UsageError(
                    f"the schedule drives the momentum, and {name} has none; "
                    "write cycle_momentum: false"
                )
        super().__init__(optimizer)

    def step(self, metrics: Tensor | float | Mapping[str, float] | None = None) -> None:
        """An update was made; with `metrics`, it was evaluated as well (see `observe`)."""
        super().step()
        self._write()
        if metrics is not None:
            self.observe(metrics)

    def observe(self, metrics: Tensor | float | Mapping[str, float]) -> None:
        """The model was evaluated: a metric, or several by name, for the plateau parts.

        A single value is whichever metric they watch. Raises KeyError with the name of the metric
        that a part watches and that a mapping lacks.
        """
        if not isinstance(metrics, Mapping):
            value = float(metrics)
            metrics = defaultdict(lambda: value)
        for schedule in self.schedules:
            schedule.observe(self.last_epoch, metrics)
        self._write()

    def get_lr(self) -> list[float | Tensor]:
        """The LR of the next update, for each param group."""
        return [schedule(self.last_epoch) for schedule in self.schedules]

    def get_last_lr(self) -> list[float | Tensor]:
        """The LRs that the param groups have."""
        return [float(group["lr"]) for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """How many updates were made; and what plateau parts have learnt, where there are any."""
        learnt = [schedule.state() for schedule in self.schedules]
        return {"step": self.last_epoch, **({"learnt": learnt} if any(learnt) else {})}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what `state_dict()` gave: the LRs are written as well."""
        self.last_epoch = int(state_dict["step"])
        for schedule, learnt in zip(
            self.schedules, state_dict.get("learnt", [{}] * len(self.schedules)), strict=True
        ):
            schedule.restore(learnt)
        self._write()

    def _write(self) -> None:
        """The next update's LR and momentum, into the param groups."""
        for schedule, group in zip(self.schedules, self.optimizer.param_groups, strict=True):
            lr = schedule(self.last_epoch)
            if isinstance(group["lr"], Tensor):  # a compiled or captured optimizer's
                group["lr"].fill_(lr)
            else:
                group["lr"] = lr
            momentum = _momentum(schedule, self.last_epoch)
            if momentum is not None:
                if "betas" in group:
                    group["betas"] = (momentum, *group["betas"][1:])
                else:
                    group["momentum"] = momentum


def _momentum(schedule: Schedule, step: int) -> float | None:
    driven = schedule.momentum(np.array([step]))
    return None if driven is None else float(driven[0])

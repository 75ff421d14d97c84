"""torch's schedulers as torch steps them: each LR from the one before, shared by all of them.

Compositions need this: the parts of a SequentialLR or a ChainedScheduler work on one and the same
param group, so that what one leaves is what the next one multiplies. A `Group` stands for torch's
dict of a param group, with torch's keys; a class here has the name, the arguments (as an attribute
each) and the order of operations of torch's.

`epoch` is what torch calls last_epoch, `count` its _step_count, `restart` its _update_lr(0).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np

from lrrun.schedules.base import Curve, Driven
from lrrun.schedules.dialects.torch_cycles import (
    Phase,
    one_cycle_heights,
    one_cycle_phases,
    phased,
)

Group = dict[str, float]


class Stepping:
    """A scheduler of one param group; making it sets the group's LR for its first step.

    `arguments` are torch's, with the group's own value of every list; `curve` is the scheduler's
    LR when it stands alone, for those that compute it from nothing but their clock.
    """

    def __init__(self, group: Group, arguments: Mapping[str, Any], curve: Curve) -> None:
        self.group = group
        self.given = SimpleNamespace(**arguments)
        self.curve = curve
        self.epoch = -1
        self.count = 0
        self.prepare()
        group.setdefault("initial_lr", group["lr"])
        self.base = group["initial_lr"]
        self.begin()

    def prepare(self) -> None:
        """What torch's constructor writes into the group before it looks at the LR."""

    def begin(self) -> None:
        """The first step, which a composition repeats."""
        self.count = 0
        self.initial = True
        self.step()
        self.initial = False

    def step(self) -> None:
        """One step of the clock."""
        self.count += 1
        self.epoch += 1
        self.group["lr"] = self.next_lr(self.group["lr"])

    def restart(self) -> None:
        """What a SequentialLR does to a part at its milestone."""
        self.epoch = 0
        self.group["lr"] = self.restarted()

    def undo(self) -> None:
        """Take back one step of the clock, and nothing else."""
        self.epoch -= 1

    def next_lr(self, lr: float) -> float:
        """The LR at `epoch`, from the group's LR so far."""
        raise NotImplementedError

    def restarted(self) -> float:
        """The LR at epoch 0 by torch's closed form, where it has one."""
        return self.next_lr(self.group["lr"])


class _LambdaLR(Stepping):
    def next_lr(self, lr: float) -> float:
        return float(self.base * self.given.lr_lambda(self.epoch))


class _MultiplicativeLR(Stepping):
    def next_lr(self, lr: float) -> float:
        return lr if self.initial else float(lr * self.given.lr_lambda(self.epoch))


class _StepLR(Stepping):
    def next_lr(self, lr: float) -> float:
        if self.epoch == 0 or self.epoch % self.given.step_size:
            return lr
        return float(lr * self.given.gamma)

    def restarted(self) -> float:
        return float(self.base * self.given.gamma ** (0 // self.given.step_size))


class _MultiStepLR(Stepping):
    def next_lr(self, lr: float) -> float:
        return float(lr * self.given.gamma ** self.given.milestones.count(self.epoch))

    def restarted(self) -> float:
        return float(self.base * self.given.gamma ** sum(m <= 0 for m in self.given.milestones))


class _ConstantLR(Stepping):
    def next_lr(self, lr: float) -> float:
        if self.epoch == 0:
            return float(lr * self.given.factor)
        return float(lr * (1.0 / self.given.factor)) if self.epoch == self.given.total_iters else lr

    def restarted(self) -> float:
        return float(self.base * (self.given.factor if self.given.total_iters > 0 else 1))


class _LinearLR(Stepping):
    def next_lr(self, lr: float) -> float:
        start, total = self.given.start_factor, self.given.total_iters
        if self.epoch == 0:
            return float(lr * start)
        if self.initial or self.epoch > total:
            return lr
        rise = self.given.end_factor - start
        return float(lr * (1.0 + rise / (total * start + (self.epoch - 1) * rise)))

    def restarted(self) -> float:
        start, total = self.given.start_factor, self.given.total_iters
        return float(self.base * (start + (self.given.end_factor - start) * min(total, 0) / total))


class _ExponentialLR(Stepping):
    def next_lr(self, lr: float) -> float:
        return lr if self.initial else float(lr * self.given.gamma)

    def restarted(self) -> float:
        return self.base


class _PolynomialLR(Stepping):
    def next_lr(self, lr: float) -> float:
        total = self.given.total_iters
        if self.initial or self.epoch > total:
            return lr
        left, before = 1.0 - self.epoch / total, 1.0 - (self.epoch - 1) / total
        return float(lr * (left / before) ** self.given.power)

    def restarted(self) -> float:
        total = self.given.total_iters
        return float(self.base * (1.0 - min(total, 0) / total) ** self.given.power)


class _CosineAnnealingLR(Stepping):
    def next_lr(self, lr: float) -> float:
        if self.initial:
            return lr
        period, low = self.given.T_max, self.given.eta_min
        if (self.epoch - 1 - period) % (2 * period) == 0:
            return float(lr + (self.base - low) * (1 - math.cos(math.pi / period)) / 2)
        now = 1 + math.cos(math.pi * self.epoch / period)
        before = 1 + math.cos(math.pi * (self.epoch - 1) / period)
        return float(now / before * (lr - low) + low)

    def restarted(self) -> float:
        low = self.given.eta_min
        return float(low + (self.base - low) * (1 + math.cos(0.0 / self.given.T_max)) / 2)


class _CosineAnnealingWarmRestarts(Stepping):
    def step(self) -> None:
        if self.epoch < 0:
            self.epoch, self.since, self.length = 0, 0, self.given.T_0
        else:
            self.epoch, self.since = self.epoch + 1, self.since + 1
            if self.since >= self.length:
                self.since %= self.length
                self.length *= self.given.T_mult
        self.group["lr"] = self.next_lr(self.group["lr"])

    def next_lr(self, lr: float) -> float:
        low = self.given.eta_min
        wave = (1 + math.cos(math.pi * self.since / self.length)) / 2
        return float(low + (self.base - low) * wave)


class _SWALR(Stepping):
    def prepare(self) -> None:
        self.group["swa_lr"] = self.given.swa_lr

    def next_lr(self, lr: float) -> float:
        epochs = self.given.anneal_epochs
        step = self.count - 1 if epochs else max(1, self.count - 1)
        before, now = self._share(step - 1, epochs), self._share(step, epochs)
        end = self.group["swa_lr"]
        first = end if before == 1 else (lr - before * end) / (1 - before)
        return float(end * now + first * (1 - now))

    def _share(self, step: int, epochs: int) -> float:
        x = max(0.0, min(1.0, step / max(1, epochs)))
        return (1 - math.cos(math.pi * x)) / 2 if self.given.anneal_strategy == "cos" else x


class _OneCycleLR(Stepping):
    def prepare(self) -> None:
        given = self.given
        self.total = given.total_steps or given.epochs * given.steps_per_epoch
        heights = one_cycle_heights(given.max_lr, given.div_factor, given.final_div_factor)
        self.group.update({_LR_KEYS[name]: height for name, height in heights.items()})
        _write_momenta(self.group, given)

    def next_lr(self, lr: float) -> float:
        if self.epoch > self.total:
            raise ValueError(f"torch raises past OneCycleLR's total_steps ({self.total})")
        phases = one_cycle_phases(self.total, self.given.pct_start, self.given.three_phase)
        if self.given.cycle_momentum:
            self.group["momentum"] = self._at(phases[1], _MOMENTUM_KEYS)
        return self._at(phases[0], _LR_KEYS)

    def _at(self, phases: list[Phase], keys: Mapping[str, str]) -> float:
        heights = {name: self.group[key] for name, key in keys.items()}
        curve = phased(phases, heights, self.given.anneal_strategy)
        return float(curve(np.array([float(self.epoch)]))[0])


def _write_momenta(group: Group, given: SimpleNamespace) -> None:
    """The momentum's two ends stand in the group: the last scheduler made says them for all."""
    if given.cycle_momentum:
        group.update(max_momentum=given.max_momentum, base_momentum=given.base_momentum)


_LR_KEYS = {"initial": "initial_lr", "max": "max_lr", "min": "min_lr"}
_MOMENTUM_KEYS = {"max": "max_momentum", "base": "base_momentum"}


class _CyclicLR(Stepping):
    def prepare(self) -> None:
        self.group["lr"] = self.given.base_lr
        _write_momenta(self.group, self.given)
        self.made = False

    def next_lr(self, lr: float) -> float:
        now = np.array([float(self.epoch)])
        if isinstance(self.curve, Driven):
            self.group["momentum"] = float(self.curve.momentum(now)[0])
        if not self.made:  # torch's constructor sets base_lr after its first step
            self.made = True
            return self.base
        return float(self.curve(now)[0])


STEPPING = {each.__name__.removeprefix("_"): each for each in Stepping.__subclasses__()}
"""torch's name of a scheduler → the class that steps it."""

"""How far the LR is from the one at which an update would no longer lower its own batch's loss.

Measured on a copy of the model, with the chance that the update had: the run goes on as if it had
not been.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lrrun.config.train import Headroom
from lrrun.errors import UsageError
from lrrun.records import HeadroomRecord
from lrrun.training import moments
from lrrun.training.chance import chance, restore_chance
from lrrun.training.feed import Feed
from lrrun.training.trainee import Trainee
from lrrun.units import Units

DOUBLINGS = 20
"""The search ends at 2^20 times the update, and at 2^-20 of it."""

BISECTIONS = 3
"""Of the last factor of 2, in logarithms: the result is within 2^(1/16) = 1.044 of the crossing."""

ROUNDING = 8.0
"""A loss has risen when it has by more than so many roundings of itself."""


@dataclass(frozen=True)
class _Before:
    """What the update of `step` began with: a copy of the model, and the chance."""

    step: int
    model: nn.Module
    chance: dict[str, Any]


class Gauge:
    """Measures an update every so often: at steps 0, N, 2N, ….

    With w the weights before an update and Δ what it adds to them, the critical multiple is the
    least m > 0 at which L(w + mΔ) > L(w), L being the loss on the update's own rows; found by
    doubling m from 1 (or halving, where the update itself raises the loss) and bisection. The
    headroom is lr / critical_lr = 1/m, the same for all param groups: m scales the whole update,
    momentum, clipping and weight decay included (Kalra et al., A Scalable Measure of Loss Landscape
    Curvature for Analyzing the Training Dynamics of LLMs, 2026, https://arxiv.org/abs/2601.16979,
    who write 2/λ_c for the critical LR). The update ratio is |Δ| / |w|.

    L is what was differentiated: in training mode (batch statistics in norms), with the update's
    own dropout masks. Passes are in full precision, uncompiled and without gradients. Needs memory
    for two more copies of the weights while it measures.
    """

    def __init__(self, trainee: Trainee, feed: Feed, settings: Headroom, units: Units) -> None:
        self.trainee = trainee
        self.feed = feed
        self.steps = np.union1d([0], moments.every(settings.every, units))
        self.stops = np.union1d(self.steps, self.steps + 1)
        """A stretch of updates ends here: one that is measured is made alone."""
        self._before: _Before | None = None

    def before(self) -> None:
        """Keep what the next update begins with, if it is one to measure."""
        step, device = self.trainee.step, self.trainee.device
        self._before = None
        if moments.among(self.steps, step):
            try:
                model = copy.deepcopy(self.trainee.model)
            except Exception as error:  # whatever somebody's model may raise
                text = f"the model cannot be copied ({type(error).__name__}: {error})"
                raise UsageError(f"train.headroom: {text}; leave train.headroom out") from error
            self._before = _Before(step, model, chance(device))

    def after(self) -> HeadroomRecord | None:
        """Measure the update that has been made since; None where none was made, or it was zero."""
        before, self._before = self._before, None
        if before is None or self.trainee.step != before.step + 1:
            return None
        now = chance(self.trainee.device)
        try:
            with torch.no_grad():
                return self._measure(before)
        finally:
            restore_chance(now, self.trainee.device)

    def _measure(self, before: _Before) -> HeadroomRecord | None:
        ratios = _Ratios.of(self.trainee, before.model)
        if not ratios.moved:
            return None
        loss = _LossAlong(self.trainee, self.feed, before)
        eps = torch.finfo(next(self.trainee.model.parameters()).dtype).eps
        multiple = critical_multiple(loss, ROUNDING * eps)
        return HeadroomRecord(
            before.step,
            tuple(float(group["lr"]) for group in self.trainee.optimizer.param_groups),
            1.0 / multiple if multiple else math.inf,
            ratios.whole,
            ratios.of_groups if len(ratios.of_groups) > 1 else (),
        )


def critical_multiple(loss: Callable[[float], float], rounding: float) -> float:
    """The least m > 0 found at which loss(m) is above loss(0) by more than `rounding` of it.

    A loss that is not finite is above. 0 where it is at 2^-DOUBLINGS already, inf where it is not
    yet at 2^DOUBLINGS.

    >>> found = critical_multiple(lambda m: (m - 5) ** 2, 1e-6)  # as high as at 0 again at m = 10
    >>> 10 / 2 ** (1 / 16) <= found <= 10 * 2 ** (1 / 16)
    True
    """
    start = loss(0.0)
    limit = start + rounding * abs(start)

    def risen(m: float) -> bool:
        return not loss(m) <= limit

    falls = not risen(1.0)
    power, step = 0, 1 if falls else -1
    while risen(2.0 ** (power + step)) != falls:
        power += step
        if abs(power) == DOUBLINGS:
            return math.inf if falls else 0.0
    below, above = sorted((float(power), float(power + step)))
    for _ in range(BISECTIONS):
        middle = (below + above) / 2
        below, above = (below, middle) if risen(2.0**middle) else (middle, above)
    return float(2.0 ** ((below + above) / 2))


class _LossAlong:
    """The loss of a step's rows at w + mΔ, as a function of m."""

    def __init__(self, trainee: Trainee, feed: Feed, before: _Before) -> None:
        self.trainee = trainee
        self.model = before.model
        self.chance = before.chance
        self.batches, self.samples = feed.batches(before.step)
        self.weights = [
            (parameter, parameter.detach().clone(), new)
            for parameter, new in zip(
                before.model.parameters(), trainee.model.parameters(), strict=True
            )
            if new.requires_grad
        ]
        self.buffers = [(buffer, buffer.clone()) for buffer in before.model.buffers()]

    def __call__(self, m: float) -> float:
        for parameter, old, new in self.weights:
            torch.lerp(old, new, m, out=parameter)
        for buffer, old in self.buffers:  # a forward pass writes into them
            buffer.copy_(old)
        restore_chance(self.chance, self.trainee.device)
        return sum(
            float(self.trainee.task.loss(self.model(x), y)) * (len(x) / self.samples)
            for x, y in self.batches
        )


@dataclass(frozen=True)
class _Ratios:
    """|Δ| / |w| over all weights, and for each param group; inf where w is 0."""

    moved: bool
    whole: float
    of_groups: tuple[float, ...]

    @classmethod
    def of(cls, trainee: Trainee, before: nn.Module) -> _Ratios:
        """Of the update that took the model from `before` to where it is."""
        old = dict(zip(trainee.model.parameters(), before.parameters(), strict=True))
        squares = []
        for group in trainee.optimizer.param_groups:
            changes = [each - old[each] for each in group["params"]]
            squares.append((_square(changes), _square([old[each] for each in group["params"]])))
        moved, size = (sum(each) for each in zip(*squares, strict=True))
        return cls(moved > 0, _ratio(moved, size), tuple(_ratio(*each) for each in squares))


def _square(tensors: Sequence[Tensor]) -> float:
    """The sum of all squares."""
    norms = torch.stack([torch.linalg.vector_norm(each.float()) for each in tensors])
    return float(torch.linalg.vector_norm(norms)) ** 2


def _ratio(moved: float, size: float) -> float:
    return math.sqrt(moved / size) if size else math.inf if moved else 0.0

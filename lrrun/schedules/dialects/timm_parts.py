"""What timm's schedulers share: the warmup in front, the noise on top, the value before step 1.

t is timm's clock: the epochs done, or with `t_in_epochs: false` the updates done. Before t = 1 the
LR is what timm's constructor set, since timm calls no step before the first update. Times may be
fractions, as timm's arithmetic allows.

Source: https://github.com/huggingface/pytorch-image-models, timm/scheduler, version 1.0.31.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lrrun.schedules.base import Array, BadArgument, Curve, PerStep, Span
from lrrun.schedules.dialects.finite import finite


@dataclass(frozen=True, slots=True)
class Warmup:
    """`warmup_t`, `warmup_lr_init` and `warmup_prefix`: a straight line before step `length`.

    With `prefix` what follows counts from the end of the warmup; without, the warmup hides what
    would have come before, and the LR jumps to where the schedule is by then.
    """

    length: int | float
    start: float
    prefix: bool

    def line(self, t: Array, target: float) -> Array:
        """The LR at t: start + (target - start) · t / length."""
        return self.start + t * ((target - self.start) / self.length)


class Noise:
    """timm's LR noise: a factor 1 + ε on the LR, ε drawn anew for every t in a range.

    ε is a normal number times `std`, drawn again until |ε| < `pct`, or with `uniform` a number
    between -pct and pct; the generator is torch's, seeded with seed + t, so that torch is needed to
    know the LR (it is imported when the first noisy LR is asked for).
    """

    def __init__(
        self,
        range_t: list[int | float] | int | float | None,
        pct: float,
        std: float,
        seed: int | None,
        uniform: bool = False,
    ) -> None:
        if isinstance(range_t, list) and len(range_t) < 2:
            text = f"expected the first noisy step, or [first, end], got {range_t}"
            raise BadArgument("noise_range_t", text)
        if range_t is not None and not uniform and pct <= 0:
            text = f"expected more than 0, got {pct:g}: timm would draw noise for ever"
            raise BadArgument("noise_pct", text)
        self.range_t = range_t
        self.pct = pct
        self.std = std
        self.seed = 42 if seed is None else seed
        self.uniform = uniform
        self._drawn: dict[int, float] = {}

    def factor(self, t: Array) -> Array:
        """The factor at every t; 1 outside the range and before the first step of the schedule."""
        noisy = t >= 1
        if self.range_t is None:
            return np.ones_like(t)
        if isinstance(self.range_t, list):
            noisy &= (self.range_t[0] <= t) & (t < self.range_t[1])
        else:
            noisy &= t >= self.range_t
        factors = np.ones_like(t)
        factors[noisy] += [self._draw(int(each)) for each in t[noisy]]
        return factors

    def _draw(self, t: int) -> float:
        if t not in self._drawn:
            self._drawn[t] = self._epsilon(t)
        return self._drawn[t]

    def _epsilon(self, t: int) -> float:
        import torch  # its generator defines the numbers; nothing else in this room needs it

        generator = torch.Generator()
        generator.manual_seed(self.seed + t)
        if self.uniform:
            return 2 * (torch.rand(1, generator=generator).item() - 0.5) * self.pct
        while True:
            epsilon = torch.randn(1, generator=generator).item() * self.std
            if abs(epsilon) < self.pct:
                return epsilon


def scheduled(
    span: Span,
    after: Callable[[Array], Array],
    warmup: Warmup,
    noise: Noise,
    t_in_epochs: bool,
    target: float | None = None,
) -> Curve:
    """The curve of a scheduler: its warmup, then `after` (t → LR), with the noise on both.

    The warmup leads to `target`, by default the base LR.
    """
    top = span.start if target is None else target

    def curve(t: Array) -> Array:
        u = t - warmup.length if warmup.prefix else t
        lrs = after(np.maximum(u, 0.0))
        if warmup.length:
            lrs = np.where(t < warmup.length, warmup.line(t, top), lrs)
        first = warmup.start if warmup.length else span.start
        return np.where(t < 1, first, lrs * noise.factor(t))

    guarded = finite(curve, "timm")
    return guarded if t_in_epochs else PerStep(guarded)


def at_least(name: str, value: float, least: float) -> None:
    """Refuse an argument below what timm asserts."""
    if not value >= least:
        raise BadArgument(name, f"expected at least {least:g}, as timm does, got {value:g}")


def above(name: str, value: float, bound: float = 0.0) -> None:
    """Refuse an argument not above what timm asserts."""
    if not value > bound:
        raise BadArgument(name, f"expected more than {bound:g}, as timm does, got {value:g}")

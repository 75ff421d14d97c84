"""timm's schedulers with cycles: CosineLRScheduler, TanhLRScheduler and PolyLRScheduler."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lrrun.schedules.base import Array, BadArgument, Curve, Span
from lrrun.schedules.catalogue import register
from lrrun.schedules.dialects.timm_parts import Noise, Warmup, above, at_least, scheduled

Time = int | float


@dataclass(frozen=True, slots=True)
class _Cycles:
    """Cycles of `first` · mul^i epochs under peaks of base · decay^i; `floor` after the last.

    `shape` is a cycle's height, 1 down to 0, from (epochs into the cycle, its length).
    """

    base: float
    floor: float
    first: Time
    mul: float
    decay: float
    limit: int
    shape: Callable[[Array, Array], Array]

    def __call__(self, t: Array) -> Array:
        if self.mul == 1:
            index = np.floor_divide(t, self.first)
            length, since = np.full_like(t, self.first), t - self.first * index
        else:
            x = 1 - t / self.first * (1 - self.mul)
            x = np.where(x > 0, x, np.nan)  # all cycles are over, and timm's logarithm fails
            index = np.floor(np.log(x) / np.log(self.mul))
            length = self.mul**index * self.first
            since = t - (1 - self.mul**index) / (1 - self.mul) * self.first
        peak = self.base * self.decay**index
        over = index >= self.limit
        since = np.where(over, 0.0, since)  # a shape need not have a value behind the last cycle
        lrs = self.floor + (peak - self.floor) * self.shape(since, length)
        return np.where(over, self.floor, lrs)


def _check_cycles(t_initial: Time, lr_min: float, cycle_mul: float) -> None:
    above("t_initial", t_initial)
    at_least("lr_min", lr_min, 0)
    if cycle_mul <= 0:
        text = f"expected more than 0, got {cycle_mul:g}: timm takes its logarithm"
        raise BadArgument("cycle_mul", text)


@register("timm.CosineLRScheduler", holds=False, clock="epoch")
def cosine_lr_scheduler(
    span: Span,
    *,
    t_initial: int | float,
    lr_min: float = 0.0,
    cycle_mul: float = 1.0,
    cycle_decay: float = 1.0,
    cycle_limit: int = 1,
    warmup_t: int | float = 0,
    warmup_lr_init: float = 0.0,
    warmup_prefix: bool = False,
    t_in_epochs: bool = True,
    noise_range_t: list[int | float] | int | float | None = None,
    noise_pct: float = 0.67,
    noise_std: float = 1.0,
    noise_seed: int | None = 42,
    k_decay: float = 1.0,
) -> Curve:
    """Cosine cycles, each longer by `cycle_mul` and lower by `cycle_decay`, with a warmup.

    lr(t) = lr_min + (base · cycle_decay^i - lr_min) · (1 + cos(π u^k / T^k)) / 2, u the epochs into
    cycle i, T = t_initial · cycle_mul^i its length, k = k_decay; lr_min after cycle_limit cycles.
    Trap: with warmup_prefix false the cosine is already on its way down when the warmup ends, and
    the LR jumps down there.

    Source: Loshchilov & Hutter, SGDR, 2017, https://arxiv.org/abs/1608.03983; k-decay,
    https://arxiv.org/abs/2004.05909.
    """
    _check_cycles(t_initial, lr_min, cycle_mul)

    def shape(u: Array, length: Array) -> Array:
        return np.asarray(0.5 * (1 + np.cos(np.pi * (u**k_decay / length**k_decay))))

    cycles = _Cycles(span.start, lr_min, t_initial, cycle_mul, cycle_decay, cycle_limit, shape)
    warmup = Warmup(warmup_t, warmup_lr_init, warmup_prefix)
    noise = Noise(noise_range_t, noise_pct, noise_std, noise_seed)
    return scheduled(span, cycles, warmup, noise, t_in_epochs)


@register("timm.TanhLRScheduler", holds=False, clock="epoch")
def tanh_lr_scheduler(
    span: Span,
    *,
    t_initial: int | float,
    lb: float = -7.0,
    ub: float = 3.0,
    lr_min: float = 0.0,
    cycle_mul: float = 1.0,
    cycle_decay: float = 1.0,
    cycle_limit: int = 1,
    warmup_t: int | float = 0,
    warmup_lr_init: float = 0.0,
    warmup_prefix: bool = False,
    t_in_epochs: bool = True,
    noise_range_t: list[int | float] | int | float | None = None,
    noise_pct: float = 0.67,
    noise_std: float = 1.0,
    noise_seed: int | None = 42,
) -> Curve:
    """Cycles that fall along a hyperbolic tangent, with a warmup.

    lr(t) = lr_min + (base · cycle_decay^i - lr_min) · (1 - tanh(lb (1 - x) + ub x)) / 2, with x the
    share of cycle i that is done; lr_min after cycle_limit cycles. It does not start exactly at the
    base LR, nor end exactly at lr_min. Without warmup_prefix the warmup leads to where the schedule
    is when it ends.

    Source: Hsueh et al., Stochastic gradient descent with hyperbolic-tangent decay, 2018,
    https://arxiv.org/abs/1806.01593.
    """
    _check_cycles(t_initial, lr_min, cycle_mul)
    above("ub", ub, lb)
    for name, value in (
        ("cycle_limit", cycle_limit),
        ("warmup_t", warmup_t),
        ("warmup_lr_init", warmup_lr_init),
    ):
        at_least(name, value, 0)

    def shape(u: Array, length: Array) -> Array:
        x = u / length
        return np.asarray(0.5 * (1 - np.tanh(lb * (1.0 - x) + ub * x)))

    cycles = _Cycles(span.start, lr_min, t_initial, cycle_mul, cycle_decay, cycle_limit, shape)
    target = None if warmup_prefix else float(cycles(np.array([float(warmup_t)]))[0])
    warmup = Warmup(warmup_t, warmup_lr_init, warmup_prefix)
    noise = Noise(noise_range_t, noise_pct, noise_std, noise_seed)
    return scheduled(span, cycles, warmup, noise, t_in_epochs, target)


@register("timm.PolyLRScheduler", holds=False, clock="epoch")
def poly_lr_scheduler(
    span: Span,
    *,
    t_initial: int | float,
    power: float = 0.5,
    lr_min: float = 0.0,
    cycle_mul: float = 1.0,
    cycle_decay: float = 1.0,
    cycle_limit: int = 1,
    warmup_t: int | float = 0,
    warmup_lr_init: float = 0.0,
    warmup_prefix: bool = False,
    t_in_epochs: bool = True,
    noise_range_t: list[int | float] | int | float | None = None,
    noise_pct: float = 0.67,
    noise_std: float = 1.0,
    noise_seed: int | None = 42,
    k_decay: float = 1.0,
) -> Curve:
    """Cycles that fall as a power of what is left of them, with a warmup.

    lr(t) = lr_min + (base · cycle_decay^i - lr_min) · (1 - u^k / T^k)^power, u the epochs into
    cycle i, T = t_initial · cycle_mul^i its length, k = k_decay; lr_min after cycle_limit cycles.
    """
    _check_cycles(t_initial, lr_min, cycle_mul)

    def shape(u: Array, length: Array) -> Array:
        return np.asarray((1 - u**k_decay / length**k_decay) ** power)

    cycles = _Cycles(span.start, lr_min, t_initial, cycle_mul, cycle_decay, cycle_limit, shape)
    warmup = Warmup(warmup_t, warmup_lr_init, warmup_prefix)
    noise = Noise(noise_range_t, noise_pct, noise_std, noise_seed)
    return scheduled(span, cycles, warmup, noise, t_in_epochs)

"""pytorch_scheduler (Axect): decays over `total_steps`, most of them with a warmup in front.

They count updates. T is total_steps, W warmup_steps, base the LR that the part starts from; unless
said otherwise the LR is base · s / W before step W, starting at 0, and min_lr from step T on.

Source of all: https://github.com/Axect/pytorch-scheduler, version 0.2.2.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from lrrun.schedules.base import Array, BadArgument, Curve, Span
from lrrun.schedules.catalogue import register
from lrrun.schedules.dialects.torch import check_last_epoch


def check_steps(total_steps: int, warmup_steps: int = 0, other: int = 0, name: str = "") -> None:
    """Refuse phases that do not fit; `other` is a phase beside the warmup, called `name`."""
    if total_steps <= 0:
        raise BadArgument("total_steps", f"expected more than 0, got {total_steps}")
    for key, value in (("warmup_steps", warmup_steps), (name, other)):
        if value < 0:
            raise BadArgument(key, f"expected at least 0, got {value}")
    if warmup_steps + other >= total_steps:
        phases = f"warmup_steps + {name}" if name else "warmup_steps"
        text = f"expected {phases} below total_steps = {total_steps}, got {warmup_steps + other}"
        raise BadArgument(name or "warmup_steps", text)


def check_floor(min_lr: float) -> None:
    """Refuse a negative floor."""
    if min_lr < 0:
        raise BadArgument("min_lr", f"expected at least 0, got {min_lr:g}")


def positive(name: str, value: float) -> None:
    """Refuse what must be more than 0."""
    if value <= 0:
        raise BadArgument(name, f"expected more than 0, got {value:g}")


def decaying(
    base: float, min_lr: float, total: int, warmup: int, between: Callable[[Array], Array]
) -> Curve:
    """A warmup from 0, then `between` (s → LR) up to step `total`, then min_lr."""

    def curve(s: Array) -> Array:
        lrs = between(np.clip(s, max(warmup, 0), total))
        if warmup > 0:
            lrs = np.where(s < warmup, base * (s / warmup), lrs)
        return np.where(s >= total, min_lr, lrs)

    return curve


def _half_cosine(x: Array) -> Array:
    return np.asarray(0.5 * (1.0 + np.cos(np.pi * x)))


@register("pytorch_scheduler.IdentityScheduler", holds=False, clock="step")
def identity_scheduler(span: Span, *, last_epoch: int = -1) -> Curve:
    """One LR throughout.

    lr(s) = base.
    """
    check_last_epoch(last_epoch)
    return lambda s: np.full_like(s, span.start)


@register("pytorch_scheduler.RexScheduler", holds=False, clock="step")
def rex_scheduler(span: Span, *, total_steps: int, last_epoch: int = -1) -> Curve:
    """REX: slow at first, fast at the end, to 0.

    lr(s) = base · (1 - x) / (1 - x / 2), x = s / T.

    Source: Chen et al., REX, 2021, https://arxiv.org/abs/2107.04197.
    """
    check_last_epoch(last_epoch)
    check_steps(total_steps)

    def between(s: Array) -> Array:
        x = s / total_steps
        return np.asarray(span.start * ((1.0 - x) / (1.0 - x / 2.0)))

    return decaying(span.start, 0.0, total_steps, 0, between)


@register("pytorch_scheduler.LinearDecayScheduler", holds=False, clock="step")
def linear_decay_scheduler(
    span: Span,
    *,
    total_steps: int,
    warmup_steps: int = 0,
    min_lr: float = 0.0,
    last_epoch: int = -1,
) -> Curve:
    """Warmup, then a straight line down.

    lr(s) = base + (min_lr - base) · (s - W) / (T - W).
    """
    check_last_epoch(last_epoch)
    check_steps(total_steps, max(warmup_steps, 0))
    check_floor(min_lr)
    length = total_steps - warmup_steps

    def between(s: Array) -> Array:
        fall = span.start + (min_lr - span.start) * ((s - warmup_steps) / length)
        return np.where(s <= 0, span.start, fall)

    return decaying(span.start, min_lr, total_steps, warmup_steps, between)


@register("pytorch_scheduler.CosineWithWarmupScheduler", holds=False, clock="step")
def cosine_with_warmup_scheduler(
    span: Span,
    *,
    total_steps: int,
    warmup_steps: int = 0,
    min_lr: float = 0.0,
    last_epoch: int = -1,
) -> Curve:
    """Warmup, then half a cosine wave down.

    lr(s) = min_lr + (base - min_lr) · (1 + cos(π (s - W) / (T - W))) / 2.
    """
    check_last_epoch(last_epoch)
    check_steps(total_steps, warmup_steps)
    check_floor(min_lr)
    return _cosine(span.start, min_lr, total_steps, warmup_steps, warmup_steps)


@register("pytorch_scheduler.WarmupHoldCosineScheduler", holds=False, clock="step")
def warmup_hold_cosine_scheduler(
    span: Span,
    *,
    total_steps: int,
    warmup_steps: int = 0,
    hold_steps: int = 0,
    min_lr: float = 0.0,
    last_epoch: int = -1,
) -> Curve:
    """Warmup, a hold at the base LR, then half a cosine wave down.

    lr(s) = base up to H = W + hold_steps, then min_lr + (base - min_lr) · (1 + cos(π (s - H) / (T -
    H))) / 2.
    """
    check_last_epoch(last_epoch)
    check_steps(total_steps, warmup_steps, hold_steps, "hold_steps")
    check_floor(min_lr)
    return _cosine(span.start, min_lr, total_steps, warmup_steps, warmup_steps + hold_steps)


@register("pytorch_scheduler.FlatCosineScheduler", holds=False, clock="step")
def flat_cosine_scheduler(
    span: Span,
    *,
    total_steps: int,
    flat_fraction: float = 0.7,
    min_lr: float = 0.0,
    last_epoch: int = -1,
) -> Curve:
    """The base LR for a share of the steps, then half a cosine wave down.

    lr(s) = base up to F = ⌊T · flat_fraction⌋, then min_lr + (base - min_lr) · (1 + cos(π (s - F) /
    (T - F))) / 2.
    """
    check_last_epoch(last_epoch)
    check_steps(total_steps)
    if not 0 <= flat_fraction < 1:
        text = f"expected at least 0 and less than 1, got {flat_fraction:g}"
        raise BadArgument("flat_fraction", text)
    check_floor(min_lr)
    return _cosine(span.start, min_lr, total_steps, 0, math.floor(total_steps * flat_fraction))


def _cosine(base: float, min_lr: float, total: int, warmup: int, begin: int) -> Curve:
    """Warmup, base up to `begin`, then half a cosine wave that ends at `total`."""

    def between(s: Array) -> Array:
        x = np.maximum(0.0, (s - begin) / (total - begin))
        return np.where(s < begin, base, min_lr + (base - min_lr) * _half_cosine(x))

    return decaying(base, min_lr, total, warmup, between)


@register("pytorch_scheduler.KDecayScheduler", holds=False, clock="step")
def k_decay_scheduler(
    span: Span, *, total_steps: int, k: float = 1.0, min_lr: float = 0.0, last_epoch: int = -1
) -> Curve:
    """Half a cosine wave over a power of the share that is done.

    lr(s) = min_lr + (base - min_lr) · (1 + cos(π x^k)) / 2, x = s / T.

    Source: Zhang & Li, k-decay, 2020, https://arxiv.org/abs/2004.05909.
    """
    check_last_epoch(last_epoch)
    check_steps(total_steps)
    positive("k", k)
    check_floor(min_lr)

    def between(s: Array) -> Array:
        wave = _half_cosine((s / total_steps) ** k)
        return np.where(s <= 0, span.start, min_lr + (span.start - min_lr) * wave)

    return decaying(span.start, min_lr, total_steps, 0, between)


@register("pytorch_scheduler.TanhDecayScheduler", holds=False, clock="step")
def tanh_decay_scheduler(
    span: Span,
    *,
    total_steps: int,
    steepness: float = 3.0,
    min_lr: float = 0.0,
    last_epoch: int = -1,
) -> Curve:
    """Down along a hyperbolic tangent, steepest in the middle.

    lr(s) = min_lr + (base - min_lr) · (1 - tanh(steepness · (2 s / T - 1))) / 2. Trap: it starts
    below the base LR.
    """
    check_last_epoch(last_epoch)
    check_steps(total_steps)
    positive("steepness", steepness)
    check_floor(min_lr)

    def between(s: Array) -> Array:
        x = steepness * (2.0 * (s / total_steps) - 1.0)
        return np.asarray(min_lr + (span.start - min_lr) * (0.5 * (1.0 - np.tanh(x))))

    return decaying(span.start, min_lr, total_steps, 0, between)


@register("pytorch_scheduler.ChebyshevScheduler", holds=False, clock="step")
def chebyshev_scheduler(
    span: Span, *, total_steps: int, min_lr: float = 0.0, last_epoch: int = -1
) -> Curve:
    """The nodes of Chebyshev's polynomial, from the highest to the lowest.

    lr(s) = min_lr + (base - min_lr) · (1 + cos(π (2 j + 1) / (2 T))) / 2, j = min(s, T - 1): it
    neither starts exactly at base nor ends exactly at min_lr, and holds its last value.
    """
    check_last_epoch(last_epoch)
    check_steps(total_steps)
    check_floor(min_lr)

    def curve(s: Array) -> Array:
        j = np.minimum(s, total_steps - 1)
        x = (2 * j + 1) / (2 * total_steps)
        return np.asarray(min_lr + (span.start - min_lr) * _half_cosine(x))

    return curve

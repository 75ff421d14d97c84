"""pytorch_scheduler's schedulers of several phases, cycles and powers."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from lrrun.schedules.base import Array, BadArgument, Curve, ScheduleEnded, Span
from lrrun.schedules.catalogue import register
from lrrun.schedules.dialects.pytorch_scheduler import (
    check_floor,
    check_steps,
    decaying,
    positive,
)
from lrrun.schedules.dialects.torch import check_last_epoch


@register("pytorch_scheduler.WSDScheduler", holds=False, clock="step")
def wsd_scheduler(
    span: Span,
    *,
    total_steps: int,
    warmup_steps: int,
    stable_steps: int,
    min_lr: float = 0.0,
    decay_type: Literal["cosine", "linear", "sqrt"] = "cosine",
    last_epoch: int = -1,
) -> Curve:
    """Warmup, a stable phase, then a decay over what is left.

    lr(s) = base up to W + stable_steps, then min_lr + (base - min_lr) · g(x), x the share of the
    decay that is done: g cosine (1 + cos π x) / 2, linear 1 - x, sqrt 1 - √x.

    Source: Hu et al., MiniCPM, 2024, https://arxiv.org/abs/2404.06395.
    """
    check_last_epoch(last_epoch)
    check_steps(total_steps, warmup_steps, stable_steps, "stable_steps")
    check_floor(min_lr)
    begin = warmup_steps + stable_steps

    def between(s: Array) -> Array:
        x = np.maximum(0.0, (s - begin) / (total_steps - begin))
        if decay_type == "cosine":
            height = 0.5 * (1.0 + np.cos(np.pi * x))
        else:
            height = 1.0 - (x if decay_type == "linear" else np.sqrt(x))
        return np.where(s < begin, span.start, min_lr + (span.start - min_lr) * height)

    return decaying(span.start, min_lr, total_steps, warmup_steps, between)


@register("pytorch_scheduler.TrapezoidalScheduler", holds=False, clock="step")
def trapezoidal_scheduler(
    span: Span,
    *,
    total_steps: int,
    warmup_steps: int,
    decay_steps: int,
    min_lr: float = 0.0,
    last_epoch: int = -1,
) -> Curve:
    """Warmup, the base LR, then a straight line down over the last `decay_steps`.

    lr(s) = base up to T - decay_steps, then base + (min_lr - base) · x, x the share of the decay
    that is done.
    """
    check_last_epoch(last_epoch)
    check_steps(total_steps)
    for name, value in (("warmup_steps", warmup_steps), ("decay_steps", decay_steps)):
        if value < 0:
            raise BadArgument(name, f"expected at least 0, got {value}")
    if warmup_steps + decay_steps > total_steps:
        text = f"expected warmup_steps + decay_steps up to total_steps = {total_steps}"
        raise BadArgument("decay_steps", f"{text}, got {warmup_steps + decay_steps}")
    check_floor(min_lr)
    begin = total_steps - decay_steps

    def between(s: Array) -> Array:
        x = (s - begin) / max(decay_steps, 1)
        return np.where(s < begin, span.start, span.start + (min_lr - span.start) * x)

    return decaying(span.start, min_lr, total_steps, warmup_steps, between)


@register("pytorch_scheduler.PolynomialScheduler", holds=False, clock="step")
def polynomial_scheduler(
    span: Span,
    *,
    total_steps: int,
    power: float = 1.0,
    min_lr: float = 0.0,
    warmup_steps: int = 0,
    cycle: bool = False,
    last_epoch: int = -1,
) -> Curve:
    """Warmup, then a power of what is left; with `cycle` again and again.

    lr(s) = min_lr + (base - min_lr) · (1 - (s - W) / (T - W))^power; with `cycle`, s is s mod T.
    """
    check_last_epoch(last_epoch)
    check_steps(total_steps, warmup_steps)
    positive("power", power)
    check_floor(min_lr)

    def between(s: Array) -> Array:
        x = (s - warmup_steps) / (total_steps - warmup_steps)
        lrs = (span.start - min_lr) * (1.0 - x) ** power + min_lr
        return np.where(s <= 0, span.start, lrs)

    curve = decaying(span.start, min_lr, total_steps, warmup_steps, between)
    return (lambda s: curve(s % total_steps)) if cycle else curve


@register("pytorch_scheduler.InverseSqrtScheduler", holds=False, clock="step")
def inverse_sqrt_scheduler(span: Span, *, warmup_steps: int, last_epoch: int = -1) -> Curve:
    """Warmup to the base LR, then the inverse square root of the step; it never ends.

    lr(s) = base · √W · min(s^-1/2, s · W^-3/2), 0 at step 0.

    Source: Vaswani et al., Attention is all you need, 2017, https://arxiv.org/abs/1706.03762.
    """
    check_last_epoch(last_epoch)
    positive("warmup_steps", warmup_steps)

    def curve(s: Array) -> Array:
        factor = np.minimum(np.maximum(s, 1.0) ** -0.5, s * warmup_steps**-1.5)
        return np.asarray(span.start * (factor * math.sqrt(warmup_steps)))

    return curve


@register("pytorch_scheduler.PowerDecayScheduler", holds=False, clock="step")
def power_decay_scheduler(
    span: Span,
    *,
    total_steps: int,
    warmup_steps: int = 0,
    alpha: float = 0.5,
    min_lr: float = 0.0,
    last_epoch: int = -1,
) -> Curve:
    """Warmup, then a power of the step; it never ends.

    lr(s) = max(base · (s / W)^-alpha, min_lr); without a warmup (s + 1)^-alpha. Trap: total_steps
    only bounds the warmup.
    """
    check_last_epoch(last_epoch)
    check_steps(total_steps, warmup_steps)
    positive("alpha", alpha)
    check_floor(min_lr)

    def curve(s: Array) -> Array:
        if warmup_steps == 0:
            lrs = np.maximum(span.start / (s + 1) ** alpha, min_lr)
            return np.where(s <= 0, span.start, lrs)
        slow = (np.maximum(s, warmup_steps) / warmup_steps) ** -alpha
        rise = span.start * (s / warmup_steps)
        return np.where(s < warmup_steps, rise, np.maximum(span.start * slow, min_lr))

    return curve


@register("pytorch_scheduler.SlantedTriangularScheduler", holds=False, clock="step")
def slanted_triangular_scheduler(
    span: Span,
    *,
    total_steps: int,
    cut_frac: float = 0.1,
    ratio: float = 32.0,
    last_epoch: int = -1,
) -> Curve:
    """A short way up, a long way down.

    lr(s) = base · (1 + p · (ratio - 1)) / ratio, cut to 0…base; p rises from 0 to 1 at C = ⌊T ·
    cut_frac⌋ and falls back to 0 at T. Trap: where C is 0 the first step still has p = 0.

    Source: Howard & Ruder, ULMFiT, 2018, https://arxiv.org/abs/1801.06146.
    """
    check_last_epoch(last_epoch)
    check_steps(total_steps)
    if not 0 < cut_frac < 1:
        raise BadArgument("cut_frac", f"expected between 0 and 1, got {cut_frac:g}")
    positive("ratio", ratio)
    cut = math.floor(total_steps * cut_frac)

    def curve(s: Array) -> Array:
        down = np.maximum(0.0, 1.0 - (np.minimum(s, total_steps) - cut) / (total_steps - cut))
        p = np.where(s <= 0, 0.0, np.where(s < cut, s / max(cut, 1), down))
        return np.asarray(span.start * np.clip((1.0 + p * (ratio - 1.0)) / ratio, 0.0, 1.0))

    return curve


@register(
    "pytorch_scheduler.CosineAnnealingWarmupRestarts", holds=False, clock="step", own_lr="max_lr"
)
def cosine_annealing_warmup_restarts(
    span: Span,
    *,
    first_cycle_steps: int,
    warmup_steps: int = 0,
    max_lr: float = 0.1,
    min_lr: float = 0.001,
    cycle_mult: float = 1.0,
    gamma: float = 1.0,
    last_epoch: int = -1,
) -> Curve:
    """Cosine cycles, each with its own warmup from `min_lr`, longer and lower than the last.

    Cycle i lasts ⌊first_cycle_steps · cycle_mult^i⌋ steps: a line from min_lr to max_lr · gamma^i
    over W steps, then half a cosine wave back to min_lr. Traps: step 0 of a cycle is at min_lr even
    without a warmup; the optimizer's LR plays no part.

    Source: Loshchilov & Hutter, SGDR, 2017, https://arxiv.org/abs/1608.03983.
    """
    check_last_epoch(last_epoch)
    positive("first_cycle_steps", first_cycle_steps)
    if not 0 <= warmup_steps < first_cycle_steps:
        text = f"expected at least 0 and less than first_cycle_steps, got {warmup_steps}"
        raise BadArgument("warmup_steps", text)
    check_floor(min_lr)
    if max_lr < min_lr:
        raise BadArgument("max_lr", f"expected at least min_lr = {min_lr:g}, got {max_lr:g}")
    positive("cycle_mult", cycle_mult)
    positive("gamma", gamma)
    begins, lengths = [0], [first_cycle_steps]

    def curve(s: Array) -> Array:
        while begins[-1] + lengths[-1] <= np.max(s, initial=0):
            begins.append(begins[-1] + lengths[-1])
            lengths.append(int(first_cycle_steps * cycle_mult ** len(lengths)))
            if lengths[-1] == 0:
                lengths.pop()
                text = (
                    f"no LR from step {begins.pop()} of its clock on: its cycles have shrunk to 0"
                )
                raise ScheduleEnded(text)
        cycle = np.searchsorted(begins, s, side="right") - 1
        u = s - np.array(begins)[cycle]
        top = max_lr * gamma ** cycle.astype(np.float64)
        falling = np.array(lengths)[cycle] - warmup_steps
        wave = 0.5 * (1.0 + np.cos(np.pi * ((u - warmup_steps) / np.maximum(falling, 1))))
        height = np.where(u < warmup_steps, u / max(warmup_steps, 1), wave)
        height = np.where((u >= warmup_steps) & (falling <= 0), 1.0, height)
        return np.where(u <= 0, min_lr, min_lr + (top - min_lr) * height)

    return curve

"""transformers.optimization: the schedules of Hugging Face, by their functions and by their names.

Every schedule has two names: its function's (`transformers.get_linear_schedule_with_warmup`, with
that function's arguments) and the one that get_scheduler and the Trainer know
(`transformers.linear`, with get_scheduler's arguments; see transformers_names.py). All count steps,
and all but one warm up from 0: the first update uses an LR of 0.

`base` is the LR that the part starts from, s the step, W = num_warmup_steps, T = num_training_steps
(the warmup included). Source of all, version 5.23:
https://huggingface.co/docs/transformers/main_classes/optimizer_schedules.
"""

from __future__ import annotations

import numpy as np

from lrrun.schedules.base import Array, BadArgument, Curve, Span
from lrrun.schedules.catalogue import register
from lrrun.schedules.dialects.torch import check_last_epoch, raising_from


def after_warmup(warmup: int, factor: Curve, rise: Curve | None = None) -> Curve:
    """A factor that rises to 1 over the warmup (as s / W unless `rise` says), then `factor`."""
    up = rise or (lambda s: s / max(1, warmup))

    def curve(s: Array) -> Array:
        values = np.empty_like(s)
        early = s < warmup
        values[early] = up(s[early])
        values[~early] = factor(s[~early])
        return values

    return curve


def times(base: float, factor: Curve) -> Curve:
    """The LR that a factor of the base LR means."""
    return lambda s: base * factor(s)


@register("transformers.get_constant_schedule", holds=False, clock="step")
def get_constant_schedule(span: Span, *, last_epoch: int = -1) -> Curve:
    """The base LR throughout.

    lr(s) = base. By the name `transformers.constant` a warmup may be written; it is not used, as in
    get_scheduler.
    """
    check_last_epoch(last_epoch)
    return lambda s: np.full_like(s, span.start)


@register("transformers.get_constant_schedule_with_warmup", holds=False, clock="step")
def get_constant_schedule_with_warmup(
    span: Span, *, num_warmup_steps: int, last_epoch: int = -1
) -> Curve:
    """A straight warmup from 0, then the base LR.

    lr(s) = base · s / W while s < W, then base.
    """
    check_last_epoch(last_epoch)
    return times(span.start, after_warmup(num_warmup_steps, np.ones_like))


@register("transformers.get_linear_schedule_with_warmup", holds=False, clock="step")
def get_linear_schedule_with_warmup(
    span: Span, *, num_warmup_steps: int, num_training_steps: int, last_epoch: int = -1
) -> Curve:
    """A straight warmup from 0, then a straight line to 0 at step T.

    lr(s) = base · s / W while s < W, then base · max(0, (T - s) / (T - W)).

    Source: Devlin et al., BERT, 2018, https://arxiv.org/abs/1810.04805.
    """
    check_last_epoch(last_epoch)
    left = max(1, num_training_steps - num_warmup_steps)
    fall = after_warmup(
        num_warmup_steps, lambda s: np.maximum(0.0, (num_training_steps - s) / left)
    )
    return times(span.start, fall)


@register("transformers.get_cosine_schedule_with_warmup", holds=False, clock="step")
def get_cosine_schedule_with_warmup(
    span: Span,
    *,
    num_warmup_steps: int,
    num_training_steps: int,
    num_cycles: float = 0.5,
    last_epoch: int = -1,
) -> Curve:
    """A straight warmup from 0, then cosine waves.

    lr(s) = base · s / W while s < W, then base · (1 + cos(2π · num_cycles · p)) / 2, p = (s - W) /
    (T - W). Traps: num_cycles counts whole waves, so that 0.5 is the usual half; past T it rises.
    """
    check_last_epoch(last_epoch)
    wave = _wave(num_warmup_steps, num_training_steps, num_cycles)
    return times(span.start, after_warmup(num_warmup_steps, lambda s: np.maximum(0.0, wave(s))))


@register(
    "transformers.get_cosine_with_hard_restarts_schedule_with_warmup", holds=False, clock="step"
)
def get_cosine_with_hard_restarts_schedule_with_warmup(
    span: Span,
    *,
    num_warmup_steps: int,
    num_training_steps: int,
    num_cycles: int | float = 1,
    last_epoch: int = -1,
) -> Curve:
    """A straight warmup from 0, then cosine decays to 0 that each start again at the base LR.

    lr(s) = base · s / W while s < W, then base · (1 + cos(π · ((num_cycles · p) mod 1))) / 2, with
    p = (s - W) / (T - W), and 0 from p = 1 on. Here num_cycles counts decays.
    """
    check_last_epoch(last_epoch)
    left = max(1, num_training_steps - num_warmup_steps)

    def factor(s: Array) -> Array:
        p = (s - num_warmup_steps) / left
        wave = 0.5 * (1.0 + np.cos(np.pi * ((float(num_cycles) * p) % 1.0)))
        return np.where(p >= 1.0, 0.0, np.maximum(0.0, wave))

    return times(span.start, after_warmup(num_warmup_steps, factor))


@register("transformers.get_polynomial_decay_schedule_with_warmup", holds=False, clock="step")
def get_polynomial_decay_schedule_with_warmup(
    span: Span,
    *,
    num_warmup_steps: int,
    num_training_steps: int,
    lr_end: float = 1e-7,
    power: float = 1.0,
    last_epoch: int = -1,
) -> Curve:
    """A straight warmup from 0, then a power of what is left, down to `lr_end`.

    lr(s) = base · s / W while s < W, then lr_end + (base - lr_end) · (1 - (s - W) / (T - W))^power,
    and lr_end past T. With W = T, step T raises: the library divides by T - W.
    """
    check_last_epoch(last_epoch)
    base, total, left = span.start, num_training_steps, num_training_steps - num_warmup_steps
    if not base > lr_end:
        text = f"expected less than the LR it decays from ({base:g}), got {lr_end:g}"
        raise BadArgument("lr_end", text)

    def factor(s: Array) -> Array:
        remaining = np.maximum(0.0, 1 - (s - num_warmup_steps) / max(1, left))
        with np.errstate(divide="ignore"):
            return np.where(s > total, lr_end, (base - lr_end) * remaining**power + lr_end) / base

    curve = times(base, after_warmup(num_warmup_steps, factor))
    if left == 0 or (power < 0 and left > 0):
        return raising_from(total, curve, "the library divides by 0 at num_training_steps")
    return curve


@register("transformers.get_inverse_sqrt_schedule", holds=False, clock="step")
def get_inverse_sqrt_schedule(
    span: Span, *, num_warmup_steps: int, timescale: int | None = None, last_epoch: int = -1
) -> Curve:
    """A straight warmup from 0, then the inverse square root of the step, without end.

    lr(s) = base · s / W while s < W, then base / √((s + τ - W) / τ), τ = timescale, which is W
    unless given, and 10,000 where W is 0: that is nearly flat.

    Source: Vaswani et al., Attention is all you need, 2017, https://arxiv.org/abs/1706.03762.
    """
    check_last_epoch(last_epoch)
    scale = (num_warmup_steps or 10_000) if timescale is None else timescale
    if scale < 0:
        raise BadArgument("timescale", f"expected at least 1 step, got {scale}")
    shift = scale - num_warmup_steps
    decay = after_warmup(num_warmup_steps, lambda s: 1.0 / np.sqrt((s + shift) / max(1, scale)))
    curve = times(span.start, decay)
    if scale == 0:
        return raising_from(num_warmup_steps, curve, "timescale is 0, the library divides by it")
    return curve


@register("transformers.get_cosine_with_min_lr_schedule_with_warmup", holds=False, clock="step")
def get_cosine_with_min_lr_schedule_with_warmup(
    span: Span,
    *,
    num_warmup_steps: int,
    num_training_steps: int,
    num_cycles: float = 0.5,
    last_epoch: int = -1,
    min_lr: float | None = None,
    min_lr_rate: float | None = None,
) -> Curve:
    """A straight warmup from 0, then cosine waves down to a floor.

    lr(s) = base · s / W while s < W, then base · (r + (1 - r) · (1 + cos(2π · num_cycles · p)) /
    2), p = (s - W) / (T - W), r = min_lr_rate or min_lr / base: exactly one of the two is given.
    Trap: past T it rises.
    """
    check_last_epoch(last_epoch)
    rate = _rate(span, min_lr, min_lr_rate)
    wave = _wave(num_warmup_steps, num_training_steps, num_cycles)
    factor = after_warmup(num_warmup_steps, lambda s: np.maximum(0.0, wave(s) * (1 - rate) + rate))
    return times(span.start, factor)


@register(
    "transformers.get_cosine_with_min_lr_schedule_with_warmup_lr_rate", holds=False, clock="step"
)
def get_cosine_with_min_lr_schedule_with_warmup_lr_rate(
    span: Span,
    *,
    num_warmup_steps: int,
    num_training_steps: int,
    num_cycles: float = 0.5,
    last_epoch: int = -1,
    min_lr: float | None = None,
    min_lr_rate: float | None = None,
    warmup_lr_rate: float | None = None,
) -> Curve:
    """A warmup that wastes no step, then cosine waves that reach their floor in the last step.

    lr(s) = base · (s + 1) / W while s < W, or base · (a + (1 - a) · s / (W - 1)) with a =
    warmup_lr_rate; then as `cosine_with_min_lr` but with p = (s - W + 1) / (T - W).
    """
    check_last_epoch(last_epoch)
    rate = _rate(span, min_lr, min_lr_rate)
    wave = _wave(num_warmup_steps, num_training_steps, num_cycles)

    def rise(s: Array) -> Array:
        if warmup_lr_rate is None:
            return (s + 1.0) / max(1, num_warmup_steps)
        return warmup_lr_rate + (1.0 - warmup_lr_rate) * s / max(1, num_warmup_steps - 1)

    def fall(s: Array) -> Array:
        return np.maximum(0.0, wave(s + 1.0) * (1 - rate) + rate)

    return times(span.start, after_warmup(num_warmup_steps, fall, rise))


def _wave(warmup: int, total: int, cycles: float) -> Curve:
    """(1 + cos(2π · cycles · p)) / 2, p the share of the steps after the warmup."""
    left = max(1, total - warmup)
    return lambda s: 0.5 * (1.0 + np.cos(np.pi * cycles * 2.0 * ((s - warmup) / left)))


def _rate(span: Span, min_lr: float | None, min_lr_rate: float | None) -> float:
    """The floor as a share of the base LR; exactly one of the two says it."""
    if min_lr is not None and min_lr_rate is not None:
        raise BadArgument("min_lr", "expected min_lr or min_lr_rate, got both")
    if min_lr_rate is not None:
        return min_lr_rate
    if min_lr is None:
        raise BadArgument("min_lr", "expected min_lr or min_lr_rate, got neither")
    if span.start == 0:
        raise BadArgument("min_lr", "expected min_lr_rate: the schedule starts from an LR of 0")
    return min_lr / span.start


def whole_run(span: Span) -> str:
    """What to write where num_training_steps is missing."""
    return f"write num_training_steps: {span.steps} for all of these steps"

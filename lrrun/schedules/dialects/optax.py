"""optax.schedules and optax.contrib.reduce_on_plateau.

They count updates and bring their own LR. optax computes some of them in float32 whatever jax is
told (a count divided by a whole number of steps), and near a small LR that shows in the fourth
digit; the same operations are in float32 here, so that the values are optax' own under
`jax_enable_x64`. Everything else is in float64.

Source of all: https://optax.readthedocs.io/en/latest/api/optimizer_schedules.html, version 0.2.8.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from lrrun.schedules.base import Array, BadArgument, Curve, Span
from lrrun.schedules.catalogue import register
from lrrun.schedules.dialects.finite import finite


def _precision(*steps: int | float) -> type[np.floating[Any]]:
    """What a count is divided in: float32 by whole numbers of steps, else float64."""
    return np.float32 if all(isinstance(each, int) for each in steps) else np.float64


@register("optax.constant_schedule", holds=False, clock="step", own_lr="value")
def constant_schedule(span: Span, *, value: float) -> Curve:
    """One LR throughout.

    lr(s) = value.
    """
    return lambda s: np.full_like(s, value)


@register("optax.polynomial_schedule", holds=False, clock="step", own_lr="init_value")
def polynomial_schedule(
    span: Span,
    *,
    init_value: float,
    end_value: float,
    power: float,
    transition_steps: int | float,
    transition_begin: int | float = 0,
) -> Curve:
    """A power of what is left of `transition_steps`, from one LR to another, up or down.

    lr(s) = end + (init - end) · (1 - u / D)^power, u = s - transition_begin, cut to 0…D, D =
    transition_steps. Trap: with transition_steps 0 it stays at init_value, not at end_value.
    """
    if transition_steps <= 0:
        return constant_schedule(span, value=init_value)
    begin = max(transition_begin, 0)
    real = _precision(transition_steps, begin)

    def curve(s: Array) -> Array:
        done = np.clip(s - begin, 0, transition_steps).astype(real) / real(transition_steps)
        return np.asarray(real(init_value - end_value) * (1 - done) ** power + real(end_value))

    return finite(curve, "optax")


@register("optax.linear_schedule", holds=False, clock="step", own_lr="init_value")
def linear_schedule(
    span: Span,
    *,
    init_value: float,
    end_value: float,
    transition_steps: int | float,
    transition_begin: int | float = 0,
) -> Curve:
    """A straight line from one LR to another, up or down.

    lr(s) = end + (init - end) · (1 - u / D), u = s - transition_begin, cut to 0…D, D =
    transition_steps. Trap: with transition_steps 0 it stays at init_value, not at end_value.
    """
    return polynomial_schedule(
        span,
        init_value=init_value,
        end_value=end_value,
        power=1,
        transition_steps=transition_steps,
        transition_begin=transition_begin,
    )


def _boundaries(written: Any) -> dict[int, float]:
    """`boundaries_and_scales`: step → factor, in order; raises BadArgument."""
    name = "boundaries_and_scales"
    if not isinstance(written, Mapping):
        raise BadArgument(name, f"expected a mapping of step: factor, got {written!r}")
    try:
        scales = {int(step): float(scale) for step, scale in written.items()}
    except (TypeError, ValueError):
        text = f"expected whole steps and number factors, got {dict(written)!r}"
        raise BadArgument(name, text) from None
    for step, scale in scales.items():
        if not scale >= 0:
            raise BadArgument(name, f"expected factors of at least 0, got {scale:g} at step {step}")
    return dict(sorted(scales.items()))


@register("optax.piecewise_constant_schedule", holds=False, clock="step", own_lr="init_value")
def piecewise_constant_schedule(
    span: Span, *, init_value: float, boundaries_and_scales: Any = None
) -> Curve:
    """The LR times a factor at each boundary.

    lr(s) = init · the product of the factors whose boundary is at or below s.
    """
    scales = {} if boundaries_and_scales is None else _boundaries(boundaries_and_scales)
    values = init_value * np.cumprod([1.0, *scales.values()])
    edges = np.array(list(scales), dtype=np.float64)
    return lambda s: np.asarray(values[np.searchsorted(edges, s, side="right")])


@register("optax.piecewise_interpolate_schedule", holds=False, clock="step", own_lr="init_value")
def piecewise_interpolate_schedule(
    span: Span,
    *,
    interpolate_type: Literal["linear", "cosine"],
    init_value: float,
    boundaries_and_scales: Any = None,
) -> Curve:
    """Lines, or half cosine waves, between values at the boundaries.

    The value at boundary k is init · scale_1 · … · scale_k; between two values a and b, lr = a +
    (b - a) · x or a + (b - a) · (1 - cos π x) / 2, with x the share of the interval that is done.
    Constant after the last.
    """
    scales = _boundaries(boundaries_and_scales) if boundaries_and_scales else {}
    values = np.cumprod([init_value, *scales.values()])
    edges = np.array([0, *scales], dtype=np.float64)
    sizes = np.maximum(np.diff(edges), 1)

    def curve(s: Array) -> Array:
        lrs = (edges[-1] <= s) * values[-1]
        for k, size in enumerate(sizes):
            start, end = values[k], values[k + 1]
            done = (s - edges[k]).astype(np.float32) / np.float32(size)
            if interpolate_type == "linear":
                between = (end - start) * done.astype(np.float64) + start
            else:
                wave = np.cos(np.float32(math.pi) * done) + np.float32(1)
                between = end + (start - end) / 2.0 * wave.astype(np.float64)
            lrs = lrs + ((edges[k] <= s) & (s < edges[k + 1])) * between
        return np.asarray(lrs)

    return curve


@register("optax.exponential_decay", holds=False, clock="step", own_lr="init_value")
def exponential_decay(
    span: Span,
    *,
    init_value: float,
    transition_steps: int | float,
    decay_rate: float,
    transition_begin: int | float = 0,
    staircase: bool = False,
    end_value: float | None = None,
) -> Curve:
    """The LR times `decay_rate` every `transition_steps` steps, in steps or continuously.

    lr(s) = init · rate^p, p = u / transition_steps (its floor with `staircase`), u = s -
    transition_begin; init while u <= 0. end_value is a floor where the rate is below 1, else a
    ceiling. Trap: with transition_steps 0 or decay_rate 0 it stays at init_value.
    """
    if transition_steps <= 0 or decay_rate == 0:
        return constant_schedule(span, value=init_value)
    begin = max(transition_begin, 0)
    real = _precision(transition_steps, begin)

    def curve(s: Array) -> Array:
        p = (s - begin).astype(real) / real(transition_steps)
        p = np.floor(p) if staircase else p
        lrs = np.where(s <= begin, real(init_value), real(init_value) * real(decay_rate) ** p)
        if end_value is not None:
            lrs = (np.maximum if decay_rate < 1.0 else np.minimum)(lrs, real(end_value))
        return np.asarray(lrs)

    return finite(curve, "optax")


@register("optax.cosine_decay_schedule", holds=False, clock="step", own_lr="init_value")
def cosine_decay_schedule(
    span: Span,
    *,
    init_value: float,
    decay_steps: int | float,
    alpha: float = 0.0,
    exponent: float = 1.0,
) -> Curve:
    """Half a cosine wave, to a power, down to a fraction of the start.

    lr(s) = init · (alpha + (1 - alpha) · w^exponent), w = (1 + cos(π min(s, D) / D)) / 2, D =
    decay_steps.

    Source: Loshchilov & Hutter, SGDR, 2017, https://arxiv.org/abs/1608.03983.
    """
    if not decay_steps > 0:
        text = f"expected more than 0 steps, as optax does, got {decay_steps:g}"
        raise BadArgument("decay_steps", text)

    def curve(s: Array) -> Array:
        wave = 0.5 * (1 + np.cos(np.pi * np.minimum(s, decay_steps) / decay_steps))
        return np.asarray(init_value * ((1 - alpha) * wave**exponent + alpha))

    return finite(curve, "optax")

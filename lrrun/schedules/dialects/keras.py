"""keras.optimizers.schedules.

They count updates, bring their own LR and are given in float64 (`floatx` float64), where Keras'
default is float32. Keras' argument `name` has no place here.

Trap, kept as it is: Keras computes in the type of `initial_learning_rate`. Written as a whole
number (1, not 1.0), it truncates the other arguments to whole numbers, π among them.

Source of all: https://keras.io/api/optimizers/learning_rate_schedules/, version 3.15.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from lrrun.schedules.base import Array, BadArgument, Curve, Span
from lrrun.schedules.catalogue import register
from lrrun.schedules.dialects.finite import finite

Number = int | float


def _positive(name: str, steps: Number) -> None:
    if steps <= 0:
        raise BadArgument(name, f"expected more than 0 steps, as Keras does, got {steps:g}")


def _floor(x: Array) -> Array:
    """Keras rounds in float32 even where all else is float64: 1.9999999999999996 becomes 2."""
    return np.floor(x.astype(np.float32)).astype(np.float64)


def _ceil(x: Array) -> Array:
    """The same, upwards."""
    return -_floor(-x)


def _typed(like: Number) -> Callable[[Number], Number]:
    """How Keras casts an argument: to the type of the initial learning rate."""
    return int if isinstance(like, int) else float


@register("keras.ExponentialDecay", holds=False, clock="step", own_lr="initial_learning_rate")
def exponential_decay(
    span: Span,
    *,
    initial_learning_rate: int | float,
    decay_steps: int | float,
    decay_rate: float,
    staircase: bool = False,
) -> Curve:
    """The LR times `decay_rate` every `decay_steps` steps, in steps or continuously.

    lr(s) = initial · rate^p, p = s / decay_steps, or ⌊s / decay_steps⌋ with `staircase`.
    """
    _positive("decay_steps", decay_steps)
    cast = _typed(initial_learning_rate)
    rate, length = np.float64(cast(decay_rate)), np.float64(cast(decay_steps))

    def curve(s: Array) -> Array:
        p = _floor(s / length) if staircase else s / length
        return np.asarray(initial_learning_rate * rate**p)

    return finite(curve, "keras")


@register("keras.InverseTimeDecay", holds=False, clock="step", own_lr="initial_learning_rate")
def inverse_time_decay(
    span: Span,
    *,
    initial_learning_rate: int | float,
    decay_steps: int | float,
    decay_rate: float,
    staircase: bool = False,
) -> Curve:
    """The LR divided by a line that rises with the step.

    lr(s) = initial / (1 + rate · p), p = s / decay_steps, or ⌊s / decay_steps⌋ with `staircase`.
    """
    _positive("decay_steps", decay_steps)
    cast = _typed(initial_learning_rate)
    rate, length = cast(decay_rate), np.float64(cast(decay_steps))

    def curve(s: Array) -> Array:
        p = _floor(s / length) if staircase else s / length
        return np.asarray(initial_learning_rate / (1 + rate * p))

    return finite(curve, "keras")


@register("keras.PiecewiseConstantDecay", holds=False, clock="step", own_lr="values")
def piecewise_constant_decay(
    span: Span, *, boundaries: list[int | float], values: list[float]
) -> Curve:
    """One LR up to and including each boundary, then the next.

    lr(s) = values[k], with k the number of boundaries below s: step s = boundary still has the
    value before it, where torch's milestones already have the one after. Boundaries are cut to
    whole steps.
    """
    if len(boundaries) != len(values) - 1:
        text = f"expected one value more than boundaries, got {len(values)} and {len(boundaries)}"
        raise BadArgument("values", text)
    if not boundaries:
        raise BadArgument("boundaries", "expected at least 1 boundary, as Keras does, got none")
    edges = [-math.inf, *(int(each) for each in boundaries), math.inf]

    def curve(s: Array) -> Array:
        lrs = np.zeros_like(s)
        for low, high, value in zip(edges[:-1], edges[1:], values, strict=True):
            lrs += ((s > low) & (s <= high)) * value
        return lrs

    return curve


@register("keras.PolynomialDecay", holds=False, clock="step", own_lr="initial_learning_rate")
def polynomial_decay(
    span: Span,
    *,
    initial_learning_rate: int | float,
    decay_steps: int | float,
    end_learning_rate: float = 0.0001,
    power: float = 1.0,
    cycle: bool = False,
) -> Curve:
    """A power of what is left of `decay_steps`, down to `end_learning_rate`.

    lr(s) = end + (initial - end) · (1 - min(s, D) / D)^power, D = decay_steps. With `cycle`, s is
    not cut and D is the first multiple of decay_steps at or above s: the LR jumps up at its ends.
    """
    _positive("decay_steps", decay_steps)
    cast = _typed(initial_learning_rate)
    end, exponent, length = cast(end_learning_rate), cast(power), cast(decay_steps)

    def curve(s: Array) -> Array:
        if cycle:
            lengths = length * np.where(s == 0, 1.0, _ceil(s / decay_steps))
        else:
            s, lengths = np.minimum(s, length), np.full_like(s, length)
        left = 1 - s / lengths
        return np.asarray((initial_learning_rate - end) * left**exponent + end)

    return finite(curve, "keras")


@register("keras.CosineDecay", holds=False, clock="step", own_lr="initial_learning_rate")
def cosine_decay(
    span: Span,
    *,
    initial_learning_rate: int | float,
    decay_steps: int | float,
    alpha: float = 0.0,
    warmup_target: float | None = None,
    warmup_steps: int | float = 0,
) -> Curve:
    """Half a cosine wave down to a fraction of the peak, after a linear warmup if asked for.

    lr(s) = peak · (alpha + (1 - alpha) · (1 + cos(π u / D)) / 2), u = min(s - W, D), D =
    decay_steps; before step W = warmup_steps, the line from initial to warmup_target. decay_steps
    excludes the warmup. Trap: without a warmup_target, warmup_steps is ignored.

    Source: Loshchilov & Hutter, SGDR, 2017, https://arxiv.org/abs/1608.03983.
    """
    _positive("decay_steps", decay_steps)
    cast = _typed(initial_learning_rate)
    pi, length = cast(math.pi), cast(decay_steps)
    warm = 0 if warmup_target is None else cast(warmup_steps)
    peak = initial_learning_rate if warmup_target is None else cast(warmup_target)

    def curve(s: Array) -> Array:
        s = np.minimum(s, length + warm)
        wave = 0.5 * (1.0 + np.cos(pi * ((s - warm) / length)))
        decayed = peak * ((1 - alpha) * wave + alpha)
        rise = (peak - initial_learning_rate) * (s / warm) if warm else 0.0
        return np.where(s < warm, rise + initial_learning_rate, decayed)

    return finite(curve, "keras")


@register("keras.CosineDecayRestarts", holds=False, clock="step", own_lr="initial_learning_rate")
def cosine_decay_restarts(
    span: Span,
    *,
    initial_learning_rate: int | float,
    first_decay_steps: int | float,
    t_mul: float = 2.0,
    m_mul: float = 1.0,
    alpha: float = 0.0,
) -> Curve:
    """Cosine cycles, each longer by `t_mul` and lower by `m_mul`, over a floor that stays.

    lr(s) = initial · (alpha + (1 - alpha) · m_mul^i · (1 + cos π x) / 2), with x the share of cycle
    i that is done; cycle i has first_decay_steps · t_mul^i steps. With t_mul below 1 all cycles
    together end, and Keras gives nan after.

    Source: Loshchilov & Hutter, SGDR, 2017, https://arxiv.org/abs/1608.03983.
    """
    _positive("first_decay_steps", first_decay_steps)
    cast = _typed(initial_learning_rate)
    pi, length, floor = cast(math.pi), np.float64(cast(first_decay_steps)), cast(alpha)
    longer, lower = np.float64(cast(t_mul)), np.float64(cast(m_mul))

    def curve(s: Array) -> Array:
        x = s / length
        if longer == 1.0:
            cycle = _floor(x)
            x = x - cycle
        else:
            cycle = _floor(np.log(1.0 - x * (1.0 - longer)) / np.log(longer))
            before = (1.0 - longer**cycle) / (1.0 - longer)
            x = (x - before) / longer**cycle
        wave = 0.5 * lower**cycle * (1.0 + np.cos(pi * x))
        return np.asarray(initial_learning_rate * ((1 - floor) * wave + floor))

    return finite(curve, "keras")

"""Schedules in phases: warmup-stable-decay and its relatives.

Their warmup stands in front, as before anything: `{name: wsd, warmup: 5%}`.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from lrrun.schedules.base import Array, BadArgument, Curve, Span
from lrrun.schedules.catalogue import register
from lrrun.schedules.decays import timescale_steps
from lrrun.schedules.falls import End, between, joined, lowest, named, positive, share, stretch
from lrrun.schedules.shapes import geometric
from lrrun.units import Fraction, Height, Length

TENTH = Length(10, "%")


@register("wsd")
def wsd(
    span: Span,
    *,
    cooldown: Length = TENTH,
    shape: str = "1-sqrt",
    final: Height = Height(0.0),
    stable: Literal["constant", "inverse-sqrt", "power"] = "constant",
    exponent: float = 0.5,
    timescale: Length | None = None,
    power: float = 2.0,
    ratio: Fraction = Fraction(0.1),
    end: End = "exclusive",
) -> Curve:
    """Warmup-stable-decay: stable until the last C steps, which fall to `final`.

    Stable is the start (constant), start · √(τ/(s+τ)) (inverse-sqrt) or start · (τ/(s+τ))^exponent
    (power), with τ = `timescale`, by default the steps before this part. The fall goes from the
    stable phase's end to `final` over C = `cooldown` in the cooldown's `shape`.

    Source: Hu et al., MiniCPM, 2024, https://arxiv.org/abs/2404.06395; shapes: Hägele et al., 2024,
    https://arxiv.org/abs/2405.18392; decaying stable phases: Zhai et al., 2022,
    https://arxiv.org/abs/2106.04560.
    """
    steps = _inside(span, "cooldown", cooldown)
    low, g = lowest(span, final), named(shape, power, ratio)
    turn = span.steps - steps
    if stable == "constant":
        if timescale is not None:
            raise BadArgument("timescale", "belongs to stable: inverse-sqrt or power")
        tau, k = 1, 0.0
    else:
        tau = timescale_steps(span, timescale)
        k = 0.5 if stable == "inverse-sqrt" else positive("exponent", exponent)

    def curve(s: Array) -> Array:
        level = span.start * (tau / (np.minimum(s, turn) + tau)) ** k
        falling = s >= turn if steps else np.zeros_like(s, dtype=bool)
        values = np.array(level)
        x = share(s[falling] - turn, steps, end)
        values[falling] = between(level[falling], low, g(x))
        return values

    return curve


@register("wsd-s")
def wsd_s(
    span: Span,
    *,
    periods: int | list[Length],
    cooldown: Fraction = Fraction(0.1),
    shape: str = "linear",
    final: Height = Height(0.1, relative=True),
    power: float = 2.0,
    ratio: Fraction = Fraction(0.1),
) -> Curve:
    """WSD-S: a stable phase and a fall to `final` in every period, each period from the start's LR.

    `periods` is how many equal ones, or their lengths; what a list leaves of the part is one more.
    The fall takes the share `cooldown` of its period, at least a step, in the cooldown's `shape`;
    every period's end, just past its last step, is at `final`.

    Source: Wen et al., Understanding warmup-stable-decay, 2024, https://arxiv.org/abs/2410.05192.
    """
    if not 0 < cooldown <= 1:
        raise BadArgument("cooldown", f"expected a share of a period in (0, 1], got {cooldown:g}")
    edges = _periods(span, periods)
    begins, lengths = edges[:-1], np.diff(edges)
    falls = np.maximum(np.rint(lengths * float(cooldown)), 1.0)
    turns = edges[1:] - falls
    low, g = lowest(span, final), named(shape, power, ratio)

    def curve(s: Array) -> Array:
        i = stretch(begins, s)
        return between(span.start, low, g(np.maximum(s - turns[i], 0.0) / falls[i]))

    return curve


def _periods(span: Span, periods: int | list[Length]) -> Array:
    """The steps at which periods begin, and the part's end; float64 [periods + 1]."""
    if isinstance(periods, int):
        if not 1 <= periods <= span.steps:
            text = f"expected 1 to {span.steps}, the part's steps, got {periods}"
            raise BadArgument("periods", text)
        return np.rint(np.linspace(0.0, span.steps, periods + 1))
    ends = np.cumsum([span.resolve("periods", each, at_least=1) for each in periods])
    if not periods or ends[-1] > span.steps:
        taken = int(ends[-1]) if periods else 0
        text = f"expected periods that fill at most the part's {span.steps} steps, got {taken}"
        raise BadArgument("periods", text)
    rest = [] if ends[-1] == span.steps else [span.steps]
    return np.array([0, *ends, *rest], dtype=np.float64)


@register("infinite")
def infinite(
    span: Span,
    *,
    cooldown: Length,
    anneal: Length,
    hold: Height = Height(0.55, relative=True),
    final: Height = Height(0.1, relative=True),
    shape: str = "cosine",
) -> Curve:
    """Infinite: a fall to a constant from which training can always go on, and a last annealing.

    lr goes from the start to `hold` over `cooldown`, in the cooldown's `shape`; stays there; and
    over the last A = `anneal` steps falls as hold · (final/hold)^(a/A).

    Source: Ibrahim et al., Simple and scalable strategies to continually pre-train, 2024,
    https://arxiv.org/abs/2403.08763.
    """
    first, last = _inside(span, "cooldown", cooldown), _inside(span, "anneal", anneal)
    if first + last > span.steps:
        text = f"cooldown and anneal take {first + last} steps, the part has {span.steps}"
        raise BadArgument("anneal", text)
    level, g = lowest(span, hold, "hold"), named(shape)
    turn = span.steps - last
    tail = geometric(level, lowest(span, final), lambda s: share(s, last))

    def settle(s: Array) -> Array:
        return between(span.start, level, g(share(s, first)))

    settled = joined(first, settle, lambda s: np.full_like(s, level))
    return joined(turn, settled, tail) if last else settled


@register("tri-stage")
def tri_stage(
    span: Span,
    *,
    warmup: Length = TENTH,
    hold: Length = Length(40, "%"),
    final: Height = Height(0.01, relative=True),
    end: End = "exclusive",
) -> Curve:
    """Three stages: a line up to base, constant, an exponential fall to `final`.

    With W = `warmup`, H = `hold` and D the part's length: start + (base - start) · s/W, then base
    for H steps, then base · (final/base)^x over the D - W - H that are left. It starts at 1% of
    base unless `start` says otherwise or a part stands before.

    Source: Park et al., SpecAugment, 2019, https://arxiv.org/abs/1904.08779; fairseq tri_stage.
    """
    rise, held = span.resolve("warmup", warmup), span.resolve("hold", hold)
    turn = rise + held
    if turn >= span.steps:
        text = f"warmup and hold take {turn} of the part's {span.steps} steps: none is left"
        raise BadArgument("hold", text)
    outset = span.written is not None or span.before is not None
    start = span.start if outset else 0.01 * span.base
    fall = geometric(span.base, lowest(span, final), lambda s: share(s, span.steps - turn, end))

    def up(s: Array) -> Array:
        return between(span.base, start, share(s, rise))

    return joined(rise, up, joined(held, lambda s: np.full_like(s, span.base), fall))


def _inside(span: Span, name: str, length: Length) -> int:
    """A phase's length in steps; raises BadArgument where it is longer than the part."""
    steps = span.resolve(name, length)
    if steps > span.steps:
        text = f"expected at most the part's {span.steps} steps, got {length} = {steps} steps"
        raise BadArgument(name, text)
    return steps

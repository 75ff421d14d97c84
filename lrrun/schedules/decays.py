"""The decays that need no horizon: the LR depends on how many steps were done, not on the end."""

from __future__ import annotations

from typing import Any

import numpy as np

from lrrun.schedules.base import Array, BadArgument, Curve, Span
from lrrun.schedules.catalogue import register
from lrrun.schedules.expression import expression
from lrrun.schedules.falls import End, lowest, positive, share
from lrrun.schedules.shapes import geometric
from lrrun.units import Fraction, Height, Length

ONE_STEP = Length(1, "steps")


@register("step")
def step(span: Span, *, every: Length, factor: Fraction = Fraction(0.1)) -> Curve:
    """Multiplied by `factor` every so often.

    lr(s) = start · factor^⌊s/every⌋.
    """
    positive("factor", factor)
    clock = _clock(span, every, staircase=True)
    return lambda s: span.start * factor ** clock(s)


@register("multistep")
def multistep(
    span: Span, *, at: list[Length], factor: Fraction | list[Fraction] = Fraction(0.1)
) -> Curve:
    """Multiplied by `factor` at each milestone.

    lr(s) = start · ∏ factorₖ over the milestones atₖ ≤ s. Milestones count from the part's first
    step and rise; `factor` is one for all, or a list of one for each.
    """
    steps = [span.resolve("at", each) for each in at]
    for k in range(1, len(at)):
        if steps[k] < steps[k - 1]:
            raise BadArgument("at", f"expected rising milestones, got {at[k - 1]} before {at[k]}")
    if steps and steps[-1] > span.steps:
        text = f"{at[-1]} = step {steps[-1]}" if at[-1].unit != "steps" else f"step {steps[-1]}"
        raise BadArgument(
            "at", f"milestone {text} is past the part's end at step {span.steps}: it would not act"
        )
    factors = factor if isinstance(factor, list) else [factor] * len(at)
    if len(factors) != len(at):
        raise BadArgument(
            "factor", f"expected {len(at)} factors, one a milestone, got {len(factors)}"
        )
    for each in factors:
        positive("factor", each)
    values: Array = span.start * np.cumprod(np.array([1.0, *factors]), dtype=np.float64)
    milestones = np.array(steps, dtype=np.float64)
    return lambda s: values[np.searchsorted(milestones, s, side="right")]


@register("exponential")
def exponential(
    span: Span,
    *,
    factor: Fraction | None = None,
    every: Length = ONE_STEP,
    alpha: Fraction | None = None,
    final: Height | None = None,
    staircase: bool = False,
    end: End = "exclusive",
) -> Curve:
    """The same factor in every stretch of the same length, said in one of three ways.

    `factor`: lr(s) = start · factor^(s/every), in steps of `every` where `staircase`; `alpha`:
    lr(s) = start · (1 - alpha)^s; `final`: lr(s) = start · (final/start)^(s/D), which gets to
    `final` at the part's end and may rise (an LR range test).
    """
    given = [
        n for n, v in (("factor", factor), ("alpha", alpha), ("final", final)) if v is not None
    ]
    if len(given) != 1:
        text = f"expected one of factor, alpha and final, got {' and '.join(given) or 'none'}"
        raise BadArgument(given[-1] if given else "factor", text)
    if final is not None:
        return geometric(span.start, lowest(span, final), lambda s: share(s, span.steps, end))
    if alpha is not None:
        if not 0 <= alpha < 1:
            raise BadArgument("alpha", f"expected a fraction in [0, 1), got {alpha:g}")
        factor = Fraction(1.0 - alpha)
    assert factor is not None  # one of the three was given
    rate = positive("factor", factor)
    clock = _clock(span, every, staircase)
    return lambda s: span.start * rate ** clock(s)


@register("natural-exponential")
def natural_exponential(
    span: Span, *, rate: float, every: Length = ONE_STEP, staircase: bool = False
) -> Curve:
    """An exponential by its rate.

    lr(s) = start · exp(-rate · s/every), in steps of `every` where `staircase`.
    """
    _not_negative("rate", rate)
    clock = _clock(span, every, staircase)
    return lambda s: span.start * np.exp(-rate * clock(s))


@register("inverse-time")
def inverse_time(
    span: Span,
    *,
    rate: float,
    every: Length = ONE_STEP,
    staircase: bool = False,
    power: float = 1.0,
) -> Curve:
    """1/t decay.

    lr(s) = start / (1 + rate · s/every)^power, in steps of `every` where `staircase`.

    Source: Robbins & Monro, A stochastic approximation method, 1951.
    """
    _not_negative("rate", rate)
    positive("power", power)
    clock = _clock(span, every, staircase)
    return lambda s: span.start * (1.0 + rate * clock(s)) ** -power


@register("inverse-sqrt")
def inverse_sqrt(span: Span, *, timescale: Length | None = None) -> Curve:
    """1/√t decay, as after the warmup of a transformer.

    lr(s) = start · √(τ / (s + τ)), with τ = `timescale`, by default the steps before this part (its
    warmup), which makes it peak · √(W/t) of the run's step t.

    Source: Vaswani et al., 2017, https://arxiv.org/abs/1706.03762.
    """
    tau = timescale_steps(span, timescale)
    return lambda s: span.start * np.sqrt(tau / (s + tau))


@register("power-law")
def power_law(span: Span, *, exponent: float = 0.5, timescale: Length | None = None) -> Curve:
    """A power law of the step, which needs no horizon.

    lr(s) = start · (τ / (s + τ))^exponent, with τ = `timescale`, by default the steps before this
    part (its warmup); an exponent of 0.5 is inverse-sqrt, 0.51 the power scheduler's.

    Source: Shen et al., Power Scheduler, 2024, https://arxiv.org/abs/2408.13359.
    """
    positive("exponent", exponent)
    tau = timescale_steps(span, timescale)
    return lambda s: span.start * (tau / (s + tau)) ** exponent


@register("lambda")
def function(span: Span, *, factor: Any) -> Curve:
    """A factor that is written as an expression of the part's own step.

    lr(s) = start · factor(s): `{name: lambda, factor: "0.95 ** (step // 100)"}`. `math` and
    conditionals may stand in it. Under --allow-code it may be a function of one's own, by import
    path: `factor: package.module:function`.
    """
    try:
        formula = expression(factor, "step")
    except ValueError as error:
        raise BadArgument("factor", str(error)) from None
    return lambda s: span.start * np.array([formula(each) for each in s])


def timescale_steps(span: Span, timescale: Length | None) -> int:
    """The τ of a power law in steps: as written, else the steps before the part."""
    if timescale is not None:
        return span.resolve("timescale", timescale, at_least=1)
    if span.begin == 0:
        raise BadArgument(
            "timescale",
            "expected a length, as no warmup stands before this part; write timescale: 1000 steps",
        )
    return span.begin


def _clock(span: Span, every: Length, staircase: bool) -> Curve:
    length = span.resolve("every", every, at_least=1)
    return lambda s: np.floor(s / length) if staircase else s / length


def _not_negative(name: str, value: float) -> None:
    if not value >= 0:
        raise BadArgument(name, f"expected at least 0, got {value:g}")

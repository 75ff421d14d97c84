"""Cooldowns: the way down at the end of a run, behind anything."""

from __future__ import annotations

from typing import Literal

import numpy as np

from lrrun.schedules.base import BadArgument, Curve, Span
from lrrun.schedules.catalogue import register
from lrrun.schedules.falls import End, between, lowest, named, share
from lrrun.units import Fraction, Height, Length


@register("cooldown")
def cooldown(
    span: Span,
    *,
    shape: str = "linear",
    final: Height = Height(0.0),
    power: float = 2.0,
    ratio: Fraction = Fraction(0.1),
    end: End = "exclusive",
) -> Curve:
    """From wherever the part before ended down to `final`, in the shape of your choice.

    lr(s) = final + (start - final) · g(s/D) with g(x): linear 1 - x; cosine (1 + cos πx)/2; 1-sqrt
    1 - √x; exponential (ratio^x - ratio)/(1 - ratio); power (1 - x)^power; 1-power 1 - x^power; or
    an expression of x.

    Source: Hägele et al., Scaling laws beyond fixed durations, 2024,
    https://arxiv.org/abs/2405.18392.
    """
    low, g = lowest(span, final), named(shape, power, ratio)
    return lambda s: between(span.start, low, g(share(s, span.steps, end)))


@register("swa")
def swa(
    span: Span,
    *,
    anneal: Length,
    final: Height,
    shape: Literal["cosine", "linear"] = "cosine",
) -> Curve:
    """To a constant LR, at which weights are averaged.

    lr(s) = final + (start - final) · g(s/A) for s < A = `anneal`, with the cooldown's g, then
    `final`.

    Source: Izmailov et al., Averaging weights leads to wider optima, 2018,
    https://arxiv.org/abs/1803.05407.
    """
    steps = span.resolve("anneal", anneal)
    if steps > span.steps:
        text = f"expected at most the part's {span.steps} steps, got {anneal} = {steps}"
        raise BadArgument("anneal", text)
    low, g = lowest(span, final), named(shape)
    if steps == 0:
        return lambda s: np.full_like(s, low)
    return lambda s: between(span.start, low, g(share(s, steps)))

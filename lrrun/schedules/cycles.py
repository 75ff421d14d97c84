"""Schedules that rise and fall: restarts, one-cycle, cyclic."""

from __future__ import annotations

from typing import Literal

import numpy as np

from lrrun.schedules.base import Array, BadArgument, Curve, Driven, Span
from lrrun.schedules.catalogue import register
from lrrun.schedules.falls import End, between, cosine, lowest, positive, stretch, through
from lrrun.units import Fraction, Height, Length

NO_STEP = Length(0, "steps")


@register("cosine-restarts")
def cosine_restarts(
    span: Span,
    *,
    cycle: Length | None = None,
    cycles: int | None = None,
    growth: float = 1.0,
    peak_decay: Fraction = Fraction(1.0),
    cycle_warmup: Length = NO_STEP,
    final: Height = Height(0.0),
) -> Curve:
    """Cosine waves that start over: SGDR.

    Cycle i (from 0) of Tᵢ steps, at its own step c: lr = final + (peakᵢ - final) · (1 + cos(π
    c/Tᵢ)) / 2, with peakᵢ = max(start · peak_decay^i, final). Either `cycle` is the length of the
    first cycle, Tᵢ = cycle · growthⁱ and the part's end cuts the last; or `cycles` of them fill
    the part. Restarts are at whole steps. With `cycle_warmup` W every cycle begins with a line
    final + (peakᵢ - final) · (c+1)/(W+1), and its cosine takes the Tᵢ - W steps that are left.

    Source: Loshchilov & Hutter, SGDR, 2017, https://arxiv.org/abs/1608.03983.
    """
    if not growth >= 1:
        raise BadArgument("growth", f"expected at least 1, got {growth:g}")
    if not 0 < peak_decay <= 1:
        raise BadArgument("peak_decay", f"expected a fraction in (0, 1], got {peak_decay:g}")
    edges = _edges(span, cycle, cycles, growth)
    begins, lengths = edges[:-1], np.diff(edges)
    rise = span.resolve("cycle_warmup", cycle_warmup)
    if rise >= lengths.min():
        text = f"expected less than the shortest cycle's {lengths.min():g} steps, got {rise}"
        raise BadArgument("cycle_warmup", text)
    low = lowest(span, final)
    peaks = np.maximum(span.start * float(peak_decay) ** np.arange(len(begins)), low)

    def curve(s: Array) -> Array:
        i = stretch(begins, s)
        c = s - begins[i]
        g = cosine(np.maximum(c - rise, 0.0) / (lengths[i] - rise))
        if rise:
            g = np.where(c < rise, (c + 1.0) / (rise + 1.0), g)
        return between(peaks[i], low, g)

    return curve


def _edges(span: Span, cycle: Length | None, cycles: int | None, growth: float) -> Array:
    """The steps at which cycles begin, and at which the last would end; float64 [cycles + 1]."""
    if (cycle is None) == (cycles is None):
        got = "neither" if cycle is None else "both"
        text = f"expected cycle (the length of the first) or cycles (their number), got {got}"
        raise BadArgument("cycle", text)
    if cycles is not None:
        if cycles < 1:
            raise BadArgument("cycles", f"expected at least 1, got {cycles}")
        text = f"{cycles} cycles do not fit into {span.steps} steps: the shortest has no step"
        if (cycles - 1) * np.log(growth) > np.log(2 * span.steps):  # nor into a float, perhaps
            raise BadArgument("cycles", text)
        ends = np.cumsum(growth ** np.arange(cycles, dtype=np.float64))
        edges: Array = np.rint(np.concatenate([[0.0], ends]) * (span.steps / ends[-1]))
        if np.diff(edges).min() < 1:
            raise BadArgument("cycles", text)
        return edges
    assert cycle is not None  # one of the two was given
    length = float(span.resolve("cycle", cycle, at_least=1))
    edge, edges_list = 0.0, [0.0]
    while edge < span.steps:
        edge, length = edge + length, length * growth
        edges_list.append(edge)
    return np.floor(np.array(edges_list) + 0.5)


@register("one-cycle")
def one_cycle(
    span: Span,
    *,
    rise: Fraction = Fraction(0.3),
    shape: Literal["cosine", "linear"] = "cosine",
    phases: Literal[2, 3] = 2,
    final: Height = Height(4e-6, relative=True),
    momentum: list[float] | None = None,
    end: End = "exclusive",
) -> Curve:
    """One rise to the base LR and one long fall: super-convergence.

    With D the part's length and R = round(rise · D) ≥ 1: from the start to base at step R, then
    down to `final` at D. With `phases: 3`: back to the start at step 2R, then to `final` at D. It
    starts at 4% of base unless `start` says otherwise or a part stands before. `momentum: [low,
    high]` drives the momentum the other way: high at the start, low at the peak, then high.

    Source: Smith & Topin, Super-convergence, 2018, https://arxiv.org/abs/1708.07120; 4% and the
    final 4e-6 of base are the 25 and 1e4 of torch's OneCycleLR, whose steps differ by one.
    """
    most = 1.0 if phases == 2 else 0.5
    if not 0 < rise < most:
        raise BadArgument("rise", f"expected a share of the part in (0, {most:g}), got {rise:g}")
    outset = span.written is not None or span.before is not None
    start = span.start if outset else 0.04 * span.base
    low = lowest(span, final)
    top = max(round(rise * span.steps), 1)
    last = span.steps if end == "exclusive" else span.steps - 1
    knots = [0, top, last] if phases == 2 else [0, top, 2 * top, last]
    heights = [start, span.base, low] if phases == 2 else [start, span.base, start, low]
    if knots[-2] >= last:
        text = f"a rise of {top} steps leaves none of the part's {span.steps} to fall in"
        raise BadArgument("rise", text)
    fall = cosine if shape == "cosine" else (lambda x: 1.0 - x)
    lr = through(knots, heights, fall)
    if momentum is None:
        return lr
    if len(momentum) != 2 or not 0 <= momentum[0] <= momentum[1] < 1:
        text = f"expected [low, high] with 0 <= low <= high < 1, got {momentum}"
        raise BadArgument("momentum", text)
    down, up = momentum
    levels = [up, down, up] if phases == 2 else [up, down, up, up]
    return Driven(lr, through(knots, levels, fall))


@register("cyclic")
def cyclic(
    span: Span,
    *,
    up: Length,
    down: Length | None = None,
    low: Height = Height(0.1, relative=True),
    mode: Literal["triangular", "triangular2", "exp-range"] = "triangular",
    factor: Fraction | None = None,
) -> Curve:
    """Triangles between `low` and the LR that the part starts from, the base LR of a run.

    lr(s) = low + (top - low) · h · scale: h goes 0 → 1 in `up` steps and 1 → 0 in `down` (by
    default as many), over and over. scale is 1 (triangular), 2^-c in cycle c from 0 (triangular2),
    or factor^s (exp-range).

    Source: Smith, Cyclical learning rates, 2017, https://arxiv.org/abs/1506.01186.
    """
    u = span.resolve("up", up, at_least=1)
    d = u if down is None else span.resolve("down", down, at_least=1)
    if (factor is not None) != (mode == "exp-range"):
        text = "belongs to mode: exp-range" if factor is not None else "exp-range needs it: 0.9999"
        raise BadArgument("factor", text)
    rate = 1.0 if factor is None else positive("factor", factor)
    bottom, top = lowest(span, low, "low"), span.start

    def curve(s: Array) -> Array:
        c = np.floor(s / (u + d))
        within = s - c * (u + d)
        h = np.where(within <= u, within / u, (u + d - within) / d)
        scale = 2.0**-c if mode == "triangular2" else rate**s
        return between(top, bottom, h * scale)

    return curve


@register("slanted-triangular")
def slanted_triangular(span: Span, *, rise: Fraction = Fraction(0.1), ratio: float = 32.0) -> Curve:
    """A short line up to the LR that the part starts from, a long line down: ULMFiT.

    With R = round(rise · D) ≥ 1: from top/ratio to top at step R, and back to top/ratio at step D.

    Source: Howard & Ruder, ULMFiT, 2018, https://arxiv.org/abs/1801.06146.
    """
    if not 0 < rise < 1:
        raise BadArgument("rise", f"expected a share of the part in (0, 1), got {rise:g}")
    if not ratio >= 1:
        raise BadArgument("ratio", f"expected at least 1, got {ratio:g}")
    peak = min(max(round(rise * span.steps), 1), span.steps - 1)
    if peak < 1:
        raise BadArgument("rise", f"expected a part of at least 2 steps, got {span.steps}")
    low = span.start / ratio
    return through([0, peak, span.steps], [low, span.start, low])

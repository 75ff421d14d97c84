"""Warmups: the way up to the peak, in front of anything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from lrrun.schedules.base import Array, BadArgument, Curve, Span
from lrrun.schedules.catalogue import register
from lrrun.schedules.falls import between, positive
from lrrun.units import Height

Shape = Literal[
    "linear", "constant", "cosine", "1-sqrt", "exponential", "log", "polynomial", "untuned-adam"
]


@register("warmup")
def warmup(
    span: Span,
    *,
    shape: Shape = "linear",
    power: float = 2.0,
    beta2: float | None = None,
    peak: Height = Height(1.0, relative=True),
) -> Curve:
    """Up to `peak`, reached by the first step after it.

    lr(s) = low + (peak - low) · r(x) with x = (s+1)/(W+1), W the part's length and `low` the LR
    that the part before ended on (0 at the run's start), so that no step is wasted at 0. An
    explicit `start` is the LR of step 0: low = start, x = s/W; `start: 0` is Hugging Face's.

    r(x) is x (linear); (1 - cos πx)/2 (cosine); 1 - √(1-x) (1-sqrt); x^power (polynomial);
    ln(1 + xN)/ln(1 + N), N = W+1 or W (log); 0 until a jump at the end (constant). Exponential is
    low · (peak/low)^x, with low above 0. Untuned-adam is min(1, (1-β2)/2 · (s+1)), which takes a
    warmup of 2/(1-β2) - 1 steps.

    Source: Goyal et al., Accurate, large minibatch SGD, 2017, https://arxiv.org/abs/1706.02677;
    untuned: Ma & Yarats, 2019, https://arxiv.org/abs/1910.04209.
    """
    explicit = span.written is not None
    low = span.written if span.written is not None else span.before or 0.0
    top = peak.of(span.base)
    length = span.steps if explicit else span.steps + 1
    first = 0.0 if explicit else 1.0
    if shape in ("exponential", "constant") and low == 0 and top > 0:
        text = f"expected a start above 0 for a warmup of shape {shape}, such as start: 1%"
        raise BadArgument("start", text)
    if shape == "exponential":
        return lambda s: low * (top / low) ** ((s + first) / length) if low else np.zeros_like(s)
    if shape == "untuned-adam":
        slope = _untuned_slope(span.steps, beta2)
        return lambda s: between(top, low, np.minimum((s + 1.0) * slope, 1.0))
    if beta2 is not None:
        raise BadArgument("beta2", f"belongs to shape: untuned-adam, not to {shape}")
    positive("power", power)

    def curve(s: Array) -> Array:
        return between(top, low, _rise(shape, (s + first) / length, length, power))

    return curve


def _rise(shape: Shape, x: Array, length: int, power: float) -> Array:
    """r(x): 0 at x = 0, 1 at x = 1; `length` is the N of log."""
    rises: dict[str, Callable[[], Array]] = {
        "linear": lambda: x,
        "constant": lambda: np.floor(np.minimum(x, 1.0)),
        "cosine": lambda: 0.5 * (1.0 - np.cos(np.pi * x)),
        "1-sqrt": lambda: 1.0 - np.sqrt(np.maximum(1.0 - x, 0.0)),
        "polynomial": lambda: x**power,
        "log": lambda: np.log1p(x * length) / np.log1p(float(length)),
    }
    return rises[shape]()


def _untuned_slope(steps: int, beta2: float | None) -> float:
    """(1-β2)/2; raises BadArgument where the warmup is too short to get to the peak by it."""
    if beta2 is None or not 0 <= beta2 < 1:
        got = "none" if beta2 is None else f"{beta2:g}"
        raise BadArgument("beta2", f"expected Adam's beta2 in [0, 1), such as 0.999, got {got}")
    needed = max(round(2.0 / (1.0 - beta2)) - 1, 0)
    if steps < needed:
        text = f"an untuned warmup under beta2 {beta2:g} takes {needed} steps, this one has {steps}"
        raise BadArgument("for", text)
    return (1.0 - beta2) / 2.0

"""How an LR gets from one height to another: the shapes that all decays and cooldowns share.

A **fall** is g(x): 1 at x = 0, 0 at x = 1, where x is the share of the way done; the LR is
high · g + low · (1 - g), which is exact at both ends.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lrrun.registry import unknown
from lrrun.schedules.base import Array, BadArgument, Curve, Span
from lrrun.schedules.expression import expression
from lrrun.units import Height

End = Literal["exclusive", "inclusive"]
"""Where a decay over D steps has its final value: at step D, just past its last, or at D-1."""

Fall = Callable[[Array], Array]


def cosine(x: Array) -> Array:
    """Half a wave: (1 + cos(π x)) / 2."""
    wave: Array = 0.5 * (1.0 + np.cos(np.pi * x))
    return wave


def named(shape: str, power: float = 1.0, ratio: float = 0.1) -> Fall:
    """The fall that a config names, or writes as an expression of x.

    linear 1 - x; cosine (1 + cos(πx))/2; 1-sqrt 1 - √x; exponential (ratio^x - ratio)/(1 - ratio);
    power (1 - x)^power; 1-power 1 - x^power. Raises BadArgument.

    >>> named("1-sqrt")(np.array([0.0, 0.25, 1.0]))
    array([1. , 0.5, 0. ])
    """
    if not power > 0:
        raise BadArgument("power", f"expected a power above 0, got {power:g}")
    if not 0 < ratio < 1:
        raise BadArgument("ratio", f"expected a ratio between 0 and 1, got {ratio:g}")
    falls: dict[str, Fall] = {
        "linear": lambda x: 1.0 - x,
        "cosine": cosine,
        "1-sqrt": lambda x: 1.0 - np.sqrt(x),
        "exponential": lambda x: (np.power(ratio, x) - ratio) / (1.0 - ratio),
        "power": lambda x: (1.0 - x) ** power,
        "1-power": lambda x: 1.0 - x**power,
    }
    if shape in falls:
        return falls[shape]
    if not re.search(r"\bx\b", shape):
        text = unknown("shape", shape, falls)
        raise BadArgument("shape", f"{text}; or write an expression of x, such as (1 - x)**3")
    try:
        formula = expression(shape, "x")
    except ValueError as error:
        raise BadArgument("shape", str(error)) from None
    return lambda x: np.array([formula(each) for each in x])


def share(s: Array, steps: int, end: End = "exclusive") -> Array:
    """The share of the way that is done at step s of a decay over `steps` steps, at most 1.

    >>> share(np.array([0.0, 4.0, 5.0]), 5, "inclusive")
    array([0., 1., 1.])
    """
    last = steps if end == "exclusive" else steps - 1
    return np.minimum(s / last, 1.0) if last > 0 else np.ones_like(s)


def between(high: float | Array, low: float | Array, g: Array) -> Array:
    """`high` where g is 1, `low` where g is 0, both exactly; on the line between elsewhere."""
    return high * g + low * (1.0 - g)


def joined(turn: int, before: Curve, after: Curve) -> Curve:
    """`before` up to step `turn`, from there `after` on a clock of its own.

    Neighbouring steps are mostly on one side, and then the other side is not computed.
    """

    def curve(s: Array) -> Array:
        if s.max() < turn:
            return before(s)
        if s.min() >= turn:
            return after(s - turn)
        return np.where(s < turn, before(s), after(np.maximum(s - turn, 0.0)))

    return curve


def lowest(span: Span, final: Height, name: str = "final") -> float:
    """The LR that a decay goes to, in LR units.

    Raises BadArgument where it lies above everything that the part could fall from: a bare number
    is an LR, and 0.1 for 10% would multiply a small base LR. An explicit `start` allows any.
    """
    low = final.of(span.base)
    if span.written is None and low > span.base:
        raise BadArgument(
            name,
            f"expected at most the base LR {span.base:g}, got {told(final, low)}; a bare number is "
            "an LR, write 10% for a share of the base LR, or give start: to rise on purpose",
        )
    return low


def told(height: Height, lr: float) -> str:
    """A height as it was written, and the LR that it means where that differs."""
    return f"{height} = {lr:g}" if height.relative else f"{lr:g}"


def positive(name: str, value: float) -> float:
    """The argument itself; raises BadArgument unless it is above 0."""
    if not value > 0:
        raise BadArgument(name, f"expected a number above 0, got {value:g}")
    return value


def stretch(begins: Array, s: Array) -> NDArray[np.intp]:
    """Which stretch each step is in: the index of the last of `begins` (rising) at or before it.

    One number, [1], where all steps are in the same: neighbours mostly are, and it is fast.
    """
    ends = np.array([s.min(), s.max()])
    first, last = np.searchsorted(begins, ends, side="right") - 1
    return np.array([first]) if first == last else np.searchsorted(begins, s, side="right") - 1


def through(
    knots: Sequence[int], heights: Sequence[float], ease: Fall = lambda x: 1.0 - x
) -> Callable[[Array], Array]:
    """The curve that goes through `heights` at the steps `knots` (rising), eased by a fall."""
    at, height = np.array(knots, dtype=np.float64), np.array(heights)

    def curve(s: Array) -> Array:
        k = stretch(at[:-1], s)
        x = np.minimum((s - at[k]) / (at[k + 1] - at[k]), 1.0)
        return between(height[k], height[k + 1], ease(x))

    return curve

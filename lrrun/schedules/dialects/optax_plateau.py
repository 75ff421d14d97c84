"""optax.contrib.reduce_on_plateau: a scale on the updates, which is a factor on the LR."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lrrun.schedules.base import BadArgument, Curve, Span
from lrrun.schedules.catalogue import register
from lrrun.schedules.feedback import OptaxRule, Reactive


@dataclass(frozen=True, slots=True)
class _Float32Improvement:
    """optax' comparison: both tolerances at once, in float32."""

    rtol: float
    atol: float

    def better(self, metric: float, best: float | None) -> bool:
        """Is `metric` better than `best`, where None is nothing seen yet?"""
        highest = np.float32(np.inf if best is None else best)
        with np.errstate(invalid="ignore"):
            bound = np.float32(1 - self.rtol) * highest - np.float32(self.atol)
        return bool(np.float32(metric) < bound)


@register("optax.contrib.reduce_on_plateau", holds=False, clock="step")
def reduce_on_plateau(
    span: Span,
    *,
    factor: float = 0.1,
    patience: int = 10,
    rtol: float = 1e-4,
    atol: float = 0.0,
    cooldown: int = 0,
    accumulation_size: int = 1,
    min_scale: float = 0.0,
    metric: str = "val_loss",
) -> Curve:
    """The LR times a scale that falls by `factor` when a metric has stopped falling.

    scale → max(scale · factor, min_scale), in float32, at the `patience`-th evaluation in a row
    that is not below (1 - rtol) · best - atol. An evaluation is the mean of accumulation_size
    metrics. A cut holds for the update that follows the metric, one sooner than torch's. `metric`
    is ours: optax is given the value itself.

    Source: https://optax.readthedocs.io/en/latest/api/contrib.html.
    """
    if not 0 < factor < 1:
        raise BadArgument("factor", f"expected a factor between 0 and 1, got {factor:g}")
    for name, value in (("rtol", rtol), ("atol", atol)):
        if value < 0:
            raise BadArgument(name, f"expected at least 0, got {value:g}")
    if rtol == 0 and atol == 0:
        raise BadArgument("rtol", "expected rtol or atol above 0, as optax does, got 0 for both")
    if rtol > 1:
        raise BadArgument("rtol", f"expected at most 1, got {rtol:g}")
    if min_scale > 1:
        text = f"expected at most 1, got {min_scale:g}: the floor would raise the LR"
        raise BadArgument("min_scale", text)
    if accumulation_size < 1:
        raise BadArgument("accumulation_size", f"expected at least 1, got {accumulation_size}")
    rule = OptaxRule(_Float32Improvement(rtol, atol), patience, cooldown, accumulation_size)
    start = span.start

    def cut(lr: float, act: str) -> float:
        scale = np.float32(lr / start if start else 0.0) * np.float32(factor)
        return start * float(max(scale, np.float32(min_scale)))

    return Reactive(start, metric, rule, cut)

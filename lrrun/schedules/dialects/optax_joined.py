"""optax' schedules that are made of others: warmups, cycles, and join_schedules itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lrrun.registry import unknown_argument
from lrrun.schedules.base import Array, BadArgument, Curve, Span
from lrrun.schedules.catalogue import CATALOGUE, Section, register
from lrrun.schedules.dialects.nesting import built, inner
from lrrun.schedules.dialects.optax import (
    cosine_decay_schedule,
    exponential_decay,
    linear_schedule,
    piecewise_interpolate_schedule,
)


def _joined(curves: Sequence[Curve], boundaries: Sequence[float]) -> Curve:
    """Each curve from its boundary on, counting from there; a later boundary wins."""

    def curve(s: Array) -> Array:
        owner, lrs = np.zeros(s.shape, dtype=np.int64), np.empty_like(s)
        for k, boundary in enumerate(boundaries, start=1):
            owner = np.where(s < boundary, owner, k)
        for k in np.unique(owner):
            begin = boundaries[k - 1] if k else 0
            lrs[owner == k] = curves[k](s[owner == k] - begin)
        return lrs

    return curve


@register("optax.join_schedules", holds=False, clock="step", own_lr="schedules")
def join_schedules(span: Span, *, schedules: list[Section], boundaries: list[int | float]) -> Curve:
    """Schedules one after another, each counting from its own boundary.

    lr(s) = schedules[k](s - boundaries[k - 1]), with k the last whose boundary is at or below s.
    Schedules or boundaries beyond the shorter list are not used, as in optax.
    """
    curves = [built(inner(section, "optax"), span) for section in schedules]
    used = min(len(boundaries), len(curves) - 1)
    return _joined(curves, boundaries[:used])


@register("optax.warmup_constant_schedule", holds=False, clock="step", own_lr="peak_value")
def warmup_constant_schedule(
    span: Span, *, init_value: float, peak_value: float, warmup_steps: int | float
) -> Curve:
    """A straight line up to the peak, then constant.

    lr(s) = peak + (init - peak) · (1 - min(s, W) / W), W = warmup_steps. Trap: with warmup_steps 0
    it stays at init_value for ever.
    """
    return linear_schedule(
        span, init_value=init_value, end_value=peak_value, transition_steps=warmup_steps
    )


@register("optax.warmup_cosine_decay_schedule", holds=False, clock="step", own_lr="peak_value")
def warmup_cosine_decay_schedule(
    span: Span,
    *,
    init_value: float,
    peak_value: float,
    warmup_steps: int | float,
    decay_steps: int | float,
    end_value: float = 0.0,
    exponent: float = 1.0,
) -> Curve:
    """A straight line up to the peak, then half a cosine wave down to `end_value`.

    Before W = warmup_steps: init + (peak - init) · s / W; then peak · (r + (1 - r) · w^exponent), r
    = end / peak, w = (1 + cos(π (s - W) / (decay_steps - W))) / 2. Trap: decay_steps includes the
    warmup, and must be longer than it.

    Source: Loshchilov & Hutter, SGDR, 2017, https://arxiv.org/abs/1608.03983.
    """
    if not decay_steps > warmup_steps:
        text = f"expected more than warmup_steps = {warmup_steps:g}, which it includes"
        raise BadArgument("decay_steps", f"{text}, got {decay_steps:g}")
    rise = warmup_constant_schedule(
        span, init_value=init_value, peak_value=peak_value, warmup_steps=warmup_steps
    )
    fall = cosine_decay_schedule(
        span,
        init_value=peak_value,
        decay_steps=decay_steps - warmup_steps,
        alpha=0.0 if peak_value == 0.0 else end_value / peak_value,
        exponent=exponent,
    )
    return _joined([rise, fall], [warmup_steps])


@register("optax.warmup_exponential_decay_schedule", holds=False, clock="step", own_lr="peak_value")
def warmup_exponential_decay_schedule(
    span: Span,
    *,
    init_value: float,
    peak_value: float,
    warmup_steps: int | float,
    transition_steps: int | float,
    decay_rate: float,
    transition_begin: int | float = 0,
    staircase: bool = False,
    end_value: float | None = None,
) -> Curve:
    """A straight line up to the peak, then an exponential decay.

    Before W = warmup_steps: init + (peak - init) · s / W; then optax.exponential_decay from the
    peak, counting from W.
    """
    rise = warmup_constant_schedule(
        span, init_value=init_value, peak_value=peak_value, warmup_steps=warmup_steps
    )
    fall = exponential_decay(
        span,
        init_value=peak_value,
        transition_steps=transition_steps,
        decay_rate=decay_rate,
        transition_begin=transition_begin,
        staircase=staircase,
        end_value=end_value,
    )
    return _joined([rise, fall], [warmup_steps])


@register("optax.sgdr_schedule", holds=False, clock="step", own_lr="cosine_kwargs")
def sgdr_schedule(span: Span, *, cosine_kwargs: list[Any]) -> Curve:
    """Cosine cycles one after another, each with its own warmup, peak, length and end.

    Every item of `cosine_kwargs` holds the arguments of one optax.warmup_cosine_decay_schedule;
    cycle k begins where the decay_steps of those before it end.

    Source: Loshchilov & Hutter, SGDR, 2017, https://arxiv.org/abs/1608.03983.
    """
    if not cosine_kwargs:
        raise BadArgument("cosine_kwargs", "expected at least one cycle, got an empty list")
    curves, begins = [], [0.0]
    for k, written in enumerate(cosine_kwargs):
        arguments = _cycle(k, written)
        try:
            curves.append(warmup_cosine_decay_schedule(span, **arguments))
        except BadArgument as error:
            raise BadArgument("cosine_kwargs", f"cycle {k}: {error.name}: {error}") from None
        begins.append(begins[-1] + arguments["decay_steps"])
    return _joined(curves, begins[1:-1])


def _cycle(k: int, written: Any) -> dict[str, Any]:
    """The arguments of cycle k, read as those of the schedule that it is."""
    parameters = CATALOGUE["optax.warmup_cosine_decay_schedule"].parameters
    try:
        if not isinstance(written, Mapping):
            raise ValueError(f"expected a mapping, got {written!r}")
        for key in written:
            if key not in parameters:
                raise ValueError(f"{key}: {unknown_argument(key, parameters)}")
        for parameter in parameters.values():
            if parameter.required and parameter.name not in written:
                raise ValueError(f"{parameter.name} is missing")
        return {key: parameters[key].read(value) for key, value in written.items()}
    except ValueError as error:
        raise BadArgument("cosine_kwargs", f"cycle {k}: {error}") from None


@register("optax.linear_onecycle_schedule", holds=False, clock="step", own_lr="peak_value")
def linear_onecycle_schedule(
    span: Span,
    *,
    transition_steps: int,
    peak_value: float,
    pct_start: float = 0.3,
    pct_final: float = 0.85,
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
) -> Curve:
    """Three lines: up to the peak, back to the start, down to the end.

    From peak / div_factor at 0 to the peak at ⌊pct_start · D⌋, back at ⌊pct_final · D⌋, and to
    peak / (div_factor · final_div_factor) at D = transition_steps, then constant. Trap: where two
    of these steps are the same, the later one's factor replaces the earlier one's.

    Source: Smith & Topin, Super-convergence, 2018, https://arxiv.org/abs/1708.07120.
    """
    _check_onecycle(transition_steps, div_factor, final_div_factor)
    scales = {
        int(pct_start * transition_steps): div_factor,
        int(pct_final * transition_steps): 1.0 / div_factor,
        transition_steps: 1.0 / final_div_factor,
    }
    return piecewise_interpolate_schedule(
        span,
        interpolate_type="linear",
        init_value=peak_value / div_factor,
        boundaries_and_scales=scales,
    )


@register("optax.cosine_onecycle_schedule", holds=False, clock="step", own_lr="peak_value")
def cosine_onecycle_schedule(
    span: Span,
    *,
    transition_steps: int,
    peak_value: float,
    pct_start: float = 0.3,
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
) -> Curve:
    """Two half cosine waves: up to the peak, down to the end.

    From peak / div_factor at 0 to the peak at ⌊pct_start · D⌋ and to peak / (div_factor ·
    final_div_factor) at D = transition_steps, then constant.

    Source: Smith & Topin, Super-convergence, 2018, https://arxiv.org/abs/1708.07120.
    """
    _check_onecycle(transition_steps, div_factor, final_div_factor)
    scales = {
        int(pct_start * transition_steps): div_factor,
        transition_steps: 1.0 / (div_factor * final_div_factor),
    }
    return piecewise_interpolate_schedule(
        span,
        interpolate_type="cosine",
        init_value=peak_value / div_factor,
        boundaries_and_scales=scales,
    )


def _check_onecycle(transition_steps: int, div_factor: float, final_div_factor: float) -> None:
    """Refuse what optax refuses."""
    if transition_steps <= 0:
        text = f"expected more than 0 steps, as optax does, got {transition_steps}"
        raise BadArgument("transition_steps", text)
    for name, value in (("div_factor", div_factor), ("final_div_factor", final_div_factor)):
        if not value > 0:
            raise BadArgument(name, f"expected more than 0, as optax does, got {value:g}")

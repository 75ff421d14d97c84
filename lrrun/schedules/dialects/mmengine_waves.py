"""mmengine.optim's LR schedulers made of cosines: annealing, restarts and one cycle."""

from __future__ import annotations

import math
from itertools import accumulate
from typing import Literal

from lrrun.schedules.base import BadArgument, Curve, Span
from lrrun.schedules.catalogue import register
from lrrun.schedules.dialects.mmengine_stepping import INF, Group, Timing
from lrrun.schedules.dialects.torch import of_group


def _floor(base: float, eta_min: float | None, eta_min_ratio: float | None) -> float:
    return base * eta_min_ratio if eta_min_ratio is not None else eta_min or 0.0


def _only_one(eta_min: float | None, eta_min_ratio: float | None) -> None:
    if (eta_min is None) == (eta_min_ratio is None):
        got = "neither" if eta_min is None else "both"
        raise BadArgument("eta_min", f"expected either eta_min or eta_min_ratio, got {got}")


def _fall(lr: float, floor: float, t: int, length: int) -> float:
    """The LR of step t of half a cosine wave over `length` steps, from the LR of step t - 1."""
    ratio = (1 + math.cos(math.pi * t / length)) / (1 + math.cos(math.pi * (t - 1) / length))
    return ratio * (lr - floor) + floor


@register("mmengine.CosineAnnealingLR", holds=False, clock="epoch")
def cosine_annealing_lr(
    span: Span,
    *,
    T_max: int | None = None,
    eta_min: float | None = None,
    begin: int = 0,
    end: int = INF,
    by_epoch: bool = True,
    eta_min_ratio: float | None = None,
    convert_to_iter_based: bool = False,
) -> Curve:
    """Half a cosine wave from the base LR to `eta_min`, and up again after.

    lr(t) = eta_min + (base - eta_min) · (1 + cos(π t / T)) / 2, T = T_max, else end - begin;
    eta_min is an LR, or eta_min_ratio · base. Traps: past T it rises, with a period of 2 T; with
    T = end - begin it stops one epoch short of eta_min.

    Source: Loshchilov & Hutter, SGDR, 2017, https://arxiv.org/abs/1608.03983.
    """
    if eta_min is not None or eta_min_ratio is not None:
        _only_one(eta_min, eta_min_ratio)
    timing = Timing.read(span, begin, end, by_epoch, convert_to_iter_based)
    length = (T_max or 0) * timing.times or timing.end - timing.begin

    def value(group: Group, base: float, t: int) -> float:
        floor = _floor(base, eta_min, eta_min_ratio)
        if t == 0:
            return group.lr
        if (t - 1 - length) % (2 * length) == 0:  # the wave is at its lowest: no ratio there
            return group.lr + (base - floor) * (1 - math.cos(math.pi / length)) / 2
        return _fall(group.lr, floor, t, length)

    return timing.curve(span, value)


@register("mmengine.CosineRestartLR", holds=False, clock="epoch")
def cosine_restart_lr(
    span: Span,
    *,
    periods: list[int],
    restart_weights: list[float] = [1.0],  # noqa: B006  (mmengine's default; only read)
    eta_min: float | None = None,
    eta_min_ratio: float | None = None,
    begin: int = 0,
    end: int = INF,
    by_epoch: bool = True,
    convert_to_iter_based: bool = False,
) -> Curve:
    """Cosine cycles of given lengths, each from its own multiple of the base LR to `eta_min`.

    lr(t) = eta_min + (base · w_i - eta_min) · (1 + cos(π u / P_i)) / 2, u the epochs into cycle i
    of P_i = periods[i] epochs, w_i = restart_weights[i]. Trap: after the last cycle its last value
    holds, which is above eta_min.

    Source: Loshchilov & Hutter, SGDR, 2017, https://arxiv.org/abs/1608.03983.
    """
    _only_one(eta_min, eta_min_ratio)
    if len(periods) != len(restart_weights):
        text = f"expected one a period, got {len(restart_weights)} for {len(periods)} periods"
        raise BadArgument("restart_weights", text)
    timing = Timing.read(span, begin, end, by_epoch, convert_to_iter_based)
    lengths = [each * timing.times for each in periods]
    ends = list(accumulate(lengths))

    def value(group: Group, base: float, t: int) -> float:
        cycle = next((k for k, stop in enumerate(ends) if t < stop), None)
        if cycle is None:
            return group.lr
        u = t - (ends[cycle - 1] if cycle else 0)
        if u == 0:
            return base * restart_weights[cycle]
        return _fall(group.lr, _floor(base, eta_min, eta_min_ratio), u, lengths[cycle])

    return timing.curve(span, value)


@register("mmengine.OneCycleLR", holds=False, clock="epoch", own_lr="eta_max")
def one_cycle_lr(
    span: Span,
    *,
    eta_max: float | list[float] = 0.0,
    total_steps: int | None = None,
    pct_start: int | float = 0.3,
    anneal_strategy: Literal["cos", "linear"] = "cos",
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
    three_phase: bool = False,
    begin: int = 0,
    end: int = INF,
    by_epoch: bool = True,
    convert_to_iter_based: bool = False,
) -> Curve:
    """Up to `eta_max`, then down to far below the start.

    From eta_max / div_factor to eta_max over pct_start · T - 1 epochs, then to eta_max /
    (div_factor · final_div_factor) at T - 1, T = total_steps, else end - begin;
    with three_phase back to the start in between. Trap: step T still has an LR, the step after it
    raises.

    Source: Smith & Topin, Super-convergence, 2018, https://arxiv.org/abs/1708.07120.
    """
    highest = of_group(span, "eta_max", eta_max)
    if total_steps is not None and total_steps <= 0:
        raise BadArgument("total_steps", f"expected more than 0, got {total_steps}")
    if not (isinstance(pct_start, float) and 0 <= pct_start <= 1):
        text = f"expected a float from 0.0 to 1.0, as mmengine does, got {pct_start!r}"
        raise BadArgument("pct_start", text)
    for name, factor in (("div_factor", div_factor), ("final_div_factor", final_div_factor)):
        if factor == 0:
            raise BadArgument(name, "expected a divisor, got 0")
    timing = Timing.read(span, begin, end, by_epoch, convert_to_iter_based)
    total = total_steps * timing.times if total_steps else timing.end - timing.begin
    rise = pct_start * total - 1
    stops = [rise, 2 * pct_start * total - 2, total - 1] if three_phase else [rise, total - 1]

    def prepare(group: Group) -> None:
        group.initial, group.highest = highest / div_factor, highest
        group.lowest = group.initial / final_div_factor

    def value(group: Group, base: float, t: int) -> float:
        if t > total:
            raise ValueError(f"the cycle has {total} steps")
        phase = next((k for k, stop in enumerate(stops) if t <= stop), len(stops) - 1)
        started = stops[phase - 1] if phase else 0
        first = group.initial or 0.0
        ends = [first, group.highest, first, group.lowest]
        if not three_phase:
            del ends[2]
        low, high = ends[phase], ends[phase + 1]
        x = (t - started) / (stops[phase] - started)
        if anneal_strategy == "linear":
            return (high - low) * x + low
        return high + (low - high) / 2.0 * (math.cos(math.pi * x) + 1)

    return timing.curve(span, value, prepare)

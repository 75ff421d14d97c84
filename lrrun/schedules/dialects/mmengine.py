"""mmengine.optim's LR schedulers.

They count epochs unless `by_epoch: false` or `convert_to_iter_based: true`, act only while begin <=
t < end (t below counts from `begin`), and compute every LR from the one before: what holds after
`end` is the last value. base is the LR that the part starts from, n = end - begin - 1.

Source of all: https://mmengine.readthedocs.io/en/latest/api/optim.html, version 0.10.7.
"""

from __future__ import annotations

from collections import Counter

from lrrun.schedules.base import BadArgument, Curve, Span
from lrrun.schedules.catalogue import register
from lrrun.schedules.dialects.mmengine_stepping import INF, Group, Timing


def _in_unit(name: str, factor: float) -> None:
    if not 0 <= factor <= 1:
        raise BadArgument(name, f"expected a factor from 0 to 1, as mmengine does, got {factor:g}")


@register("mmengine.ConstantLR", holds=False, clock="epoch")
def constant_lr(
    span: Span,
    *,
    factor: float = 1 / 3,
    begin: int = 0,
    end: int = INF,
    by_epoch: bool = True,
    convert_to_iter_based: bool = False,
) -> Curve:
    """A fraction of the base LR, then the base LR from t = end - begin - 1 on.

    Trap: the base LR comes one epoch before `end`; with end = begin + 1 it never comes. A factor of
    0 raises there, where mmengine divides by it.
    """
    _in_unit("factor", factor)
    timing = Timing.read(span, begin, end, by_epoch, convert_to_iter_based)

    def value(group: Group, base: float, t: int) -> float:
        if t == 0:
            return group.lr * factor
        return group.lr * (1.0 / factor) if t == timing.last else group.lr

    return timing.curve(span, value)


@register("mmengine.LinearLR", holds=False, clock="epoch")
def linear_lr(
    span: Span,
    *,
    start_factor: float = 1 / 3,
    end_factor: float = 1.0,
    begin: int = 0,
    end: int = INF,
    by_epoch: bool = True,
    convert_to_iter_based: bool = False,
) -> Curve:
    """A straight line between two fractions of the base LR.

    lr(t) = base · (a + (b - a) · t / n), a = start_factor, b = end_factor: b is reached at t = n,
    an epoch before `end`. Trap: start_factor 0 raises at t = 1, where mmengine divides by 0; our
    own `{name: warmup, start: 0}` starts at 0.
    """
    _in_unit("start_factor", start_factor)
    _in_unit("end_factor", end_factor)
    timing = Timing.read(span, begin, end, by_epoch, convert_to_iter_based)
    rise = end_factor - start_factor

    def value(group: Group, base: float, t: int) -> float:
        if t == 0:
            return group.lr * start_factor
        return group.lr * (1.0 + rise / (timing.last * start_factor + (t - 1) * rise))

    return timing.curve(span, value)


@register("mmengine.ExponentialLR", holds=False, clock="epoch")
def exponential_lr(
    span: Span,
    *,
    gamma: float,
    begin: int = 0,
    end: int = INF,
    by_epoch: bool = True,
    convert_to_iter_based: bool = False,
) -> Curve:
    """The LR times `gamma` every epoch.

    lr(t) = base · gamma^t.
    """
    timing = Timing.read(span, begin, end, by_epoch, convert_to_iter_based)
    return timing.curve(span, lambda group, base, t: group.lr * gamma if t else group.lr)


@register("mmengine.StepLR", holds=False, clock="epoch")
def step_lr(
    span: Span,
    *,
    step_size: int,
    gamma: float = 0.1,
    begin: int = 0,
    end: int = INF,
    by_epoch: bool = True,
    convert_to_iter_based: bool = False,
) -> Curve:
    """The LR times `gamma` every `step_size` epochs.

    lr(t) = base · gamma^⌊t / step_size⌋.
    """
    timing = Timing.read(span, begin, end, by_epoch, convert_to_iter_based)
    size = step_size * timing.times

    def value(group: Group, base: float, t: int) -> float:
        return group.lr if t == 0 or t % size else group.lr * gamma

    return timing.curve(span, value)


@register("mmengine.MultiStepLR", holds=False, clock="epoch")
def multi_step_lr(
    span: Span,
    *,
    milestones: list[int],
    gamma: float = 0.1,
    begin: int = 0,
    end: int = INF,
    by_epoch: bool = True,
    convert_to_iter_based: bool = False,
) -> Curve:
    """The LR times `gamma` at every milestone, which counts from `begin`.

    lr(t) = base · gamma^(number of milestones in 0…t); one given twice counts twice.
    """
    timing = Timing.read(span, begin, end, by_epoch, convert_to_iter_based)
    times = Counter(each * timing.times for each in milestones)

    def value(group: Group, base: float, t: int) -> float:
        return group.lr * gamma ** times[t] if t in times else group.lr

    return timing.curve(span, value)


@register("mmengine.PolyLR", holds=False, clock="epoch")
def poly_lr(
    span: Span,
    *,
    eta_min: float = 0.0,
    power: float = 1.0,
    begin: int = 0,
    end: int = INF,
    by_epoch: bool = True,
    convert_to_iter_based: bool = False,
) -> Curve:
    """A power of what is left, down to `eta_min`.

    lr(t) = eta_min + (base - eta_min) · (1 - t / n)^power: eta_min is reached at t = n, an epoch
    before `end`.
    """
    timing = Timing.read(span, begin, end, by_epoch, convert_to_iter_based)

    def value(group: Group, base: float, t: int) -> float:
        if t == 0:
            return group.lr
        left = 1 - 1 / (timing.last - t + 1)
        return float((group.lr - eta_min) * left**power + eta_min)

    return timing.curve(span, value)

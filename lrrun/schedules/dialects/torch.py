"""torch.optim.lr_scheduler: the schedulers whose LR has a closed form.

torch computes most of them from the LR of the step before; where that recursion and torch's own
closed form disagree (total_iters 0, milestone 0), the recursion is what runs, and what these give.
`base` is the LR that the part starts from, t the epochs done (`interval: step` counts updates).

Source of all: https://docs.pytorch.org/docs/stable/optim.html, version 2.13.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np

from lrrun.schedules.base import Array, BadArgument, Curve, ScheduleEnded, Span
from lrrun.schedules.catalogue import register
from lrrun.schedules.dialects.recursion import Recursion
from lrrun.schedules.expression import Function, expression

Anneal = Literal["cos", "linear"]


def check_last_epoch(last_epoch: int) -> None:
    """Refuse a resumed clock: the step is the run's to count."""
    if last_epoch != -1:
        text = f"expected -1, got {last_epoch}; lrrun counts steps itself, in resume and fork too"
        raise BadArgument("last_epoch", text)


def of_group(span: Span, name: str, value: Any) -> Any:
    """The param group's own value, of an argument that may be a list of one per group."""
    if not isinstance(value, list):
        return value
    groups = span.groups or max(span.group + 1, len(value))
    if len(value) != groups:
        raise BadArgument(name, f"expected one value per param group ({groups}), got {len(value)}")
    return value[span.group]


def raising_from(step: float, curve: Curve, reason: str) -> Curve:
    """The curve up to `step`; asking for that step or a later one raises ScheduleEnded."""

    def guarded(t: Array) -> Array:
        if np.any(t >= step):
            raise ScheduleEnded(f"no LR from step {step:g} of its clock on: {reason}")
        return curve(t)

    return guarded


def lambda_of(span: Span, name: str, written: Any, variable: str = "epoch") -> Function:
    """The param group's function, as an expression; raises BadArgument."""
    try:
        return expression(of_group(span, name, written), variable)
    except ValueError as error:
        raise BadArgument(name, str(error)) from None


@register("torch.LambdaLR", holds=False, clock="epoch")
def lambda_lr(span: Span, *, lr_lambda: Any, last_epoch: int = -1) -> Curve:
    """The base LR times a function of the epoch.

    lr(t) = base · f(t), with f the expression `lr_lambda`, or a list of one per param group.
    """
    check_last_epoch(last_epoch)
    f = lambda_of(span, "lr_lambda", lr_lambda)

    def curve(t: Array) -> Array:
        distinct, where = np.unique(t, return_inverse=True)
        return (span.start * np.array([f(each) for each in distinct]))[where].reshape(t.shape)

    return curve


@register("torch.MultiplicativeLR", holds=False, clock="epoch")
def multiplicative_lr(span: Span, *, lr_lambda: Any, last_epoch: int = -1) -> Curve:
    """The LR multiplied by a function of the epoch, every epoch.

    lr(t) = base · f(1) · f(2) · … · f(t), with f the expression `lr_lambda`, or a list of one per
    param group; f(0) is never used.
    """
    check_last_epoch(last_epoch)
    f = lambda_of(span, "lr_lambda", lr_lambda)
    return Recursion(lambda t, lr: lr * f(t) if t else span.start)


@register("torch.StepLR", holds=False, clock="epoch")
def step_lr(span: Span, *, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> Curve:
    """The LR times `gamma` every `step_size` epochs.

    lr(t) = base · gamma^⌊t / step_size⌋.
    """
    check_last_epoch(last_epoch)
    if step_size < 0:
        raise BadArgument("step_size", f"expected at least 1 epoch, got {step_size}")
    if step_size == 0:
        text = "step_size is 0, and torch divides by it"
        return raising_from(1, lambda t: np.full_like(t, span.start), text)
    return lambda t: span.start * _power(gamma, np.floor(t / step_size))


@register("torch.MultiStepLR", holds=False, clock="epoch")
def multi_step_lr(
    span: Span, *, milestones: list[int], gamma: float = 0.1, last_epoch: int = -1
) -> Curve:
    """The LR times `gamma` at every milestone.

    lr(t) = base · gamma^(number of milestones in 0…t). A milestone given twice counts twice, one at
    0 acts from the first step on.
    """
    check_last_epoch(last_epoch)
    passed = np.sort([float(each) for each in milestones if each >= 0])

    def curve(t: Array) -> Array:
        count = np.searchsorted(passed, t, side="right")
        return span.start * _power(gamma, np.asarray(count, dtype=np.float64))

    return curve


@register("torch.ConstantLR", holds=False, clock="epoch")
def constant_lr(
    span: Span, *, factor: float = 1 / 3, total_iters: int = 5, last_epoch: int = -1
) -> Curve:
    """A fraction of the base LR for a while, then the base LR.

    lr(t) = base · factor while t < total_iters, then base. Trap: with total_iters 0 the LR never
    leaves base · factor. A factor of 0 raises at t = total_iters, where torch divides by it.
    """
    check_last_epoch(last_epoch)
    _in_unit("factor", factor)
    low, high = span.start * factor, span.start
    if total_iters <= 0:
        return lambda t: np.full_like(t, low)
    if factor == 0:
        text = "factor is 0, and torch comes back to the base LR by dividing by it"
        return raising_from(total_iters, lambda t: np.full_like(t, low), text)
    return lambda t: np.where(t < total_iters, low, high)


@register("torch.LinearLR", holds=False, clock="epoch")
def linear_lr(
    span: Span,
    *,
    start_factor: float = 1 / 3,
    end_factor: float = 1.0,
    total_iters: int = 5,
    last_epoch: int = -1,
) -> Curve:
    """A straight line between two fractions of the base LR.

    lr(t) = base · (a + (b - a) · min(t, n) / n), a = start_factor, b = end_factor, n = total_iters.
    Traps: it cannot start at 0 (our own `{name: warmup, start: 0}` can), and with total_iters 0 the
    LR never leaves base · start_factor.
    """
    check_last_epoch(last_epoch)
    if not 0 < start_factor <= 1:
        text = f"expected more than 0 and at most 1, as torch does, got {start_factor:g}"
        own = "; our own {name: warmup, start: 0} starts at 0" if start_factor == 0 else ""
        raise BadArgument("start_factor", text + own)
    _in_unit("end_factor", end_factor)
    if total_iters <= 0:
        return lambda t: np.full_like(t, span.start * start_factor)
    rise = end_factor - start_factor
    return lambda t: span.start * (start_factor + rise * np.minimum(t, total_iters) / total_iters)


@register("torch.ExponentialLR", holds=False, clock="epoch")
def exponential_lr(span: Span, *, gamma: float, last_epoch: int = -1) -> Curve:
    """The LR times `gamma` every epoch.

    lr(t) = base · gamma^t; it never ends.
    """
    check_last_epoch(last_epoch)
    return lambda t: span.start * _power(gamma, t)


@register("torch.PolynomialLR", holds=False, clock="epoch")
def polynomial_lr(
    span: Span, *, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1
) -> Curve:
    """A power of what is left of `total_iters` epochs, down to 0.

    lr(t) = base · (1 - min(t, n) / n)^power, n = total_iters. It has no floor, and with total_iters
    0 it stays at the base LR.
    """
    check_last_epoch(last_epoch)
    if total_iters <= 0:
        return lambda t: np.full_like(t, span.start)

    def curve(t: Array) -> Array:
        left = 1.0 - np.minimum(t, total_iters) / total_iters
        return np.asarray(span.start * left**power)

    if power < 0:
        return raising_from(total_iters, curve, "power is negative, and torch divides by 0 there")
    return curve


@register("torch.CosineAnnealingLR", holds=False, clock="epoch")
def cosine_annealing_lr(
    span: Span, *, T_max: int, eta_min: float = 0.0, last_epoch: int = -1
) -> Curve:
    """Half a cosine wave from the base LR to `eta_min`, and up again after.

    lr(t) = eta_min + (base - eta_min) · (1 + cos(π t / T_max)) / 2. Trap: past T_max it rises, with
    a period of 2 T_max; T_max is in epochs unless `interval: step`. `eta_min` is one LR for all
    param groups.

    Source: Loshchilov & Hutter, SGDR, 2017, https://arxiv.org/abs/1608.03983.
    """
    check_last_epoch(last_epoch)
    if T_max < 0:
        raise BadArgument("T_max", f"expected at least 1 epoch, got {T_max}")
    if T_max == 0:
        text = "T_max is 0, and torch divides by it"
        return raising_from(1, lambda t: np.full_like(t, span.start), text)
    height = span.start - eta_min
    return lambda t: eta_min + height * (1 + np.cos(np.pi * t / T_max)) / 2


@register("torch.CosineAnnealingWarmRestarts", holds=False, clock="epoch")
def cosine_annealing_warm_restarts(
    span: Span, *, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1
) -> Curve:
    """Cosine cycles from the base LR to `eta_min`, each `T_mult` times as long as the one before.

    lr(t) = eta_min + (base - eta_min) · (1 + cos(π u / T)) / 2, u the epochs since the cycle's
    start, T = T_0 · T_mult^i the length of cycle i.

    Source: Loshchilov & Hutter, SGDR, 2017, https://arxiv.org/abs/1608.03983.
    """
    check_last_epoch(last_epoch)
    for name, value in (("T_0", T_0), ("T_mult", T_mult)):
        if value < 1:
            raise BadArgument(name, f"expected at least 1, got {value}")
    height = span.start - eta_min

    def curve(t: Array) -> Array:
        if T_mult == 1:
            return np.asarray(wave((t - T_0 * np.floor(t / T_0)) / T_0))
        ends = [T_0]
        while ends[-1] <= np.max(t, initial=0):
            ends.append(ends[-1] + T_0 * T_mult ** len(ends))
        begins = np.array([0, *ends[:-1]], dtype=np.float64)
        cycle = np.searchsorted(begins, t, side="right") - 1
        return np.asarray(wave((t - begins[cycle]) / (np.array(ends) - begins)[cycle]))

    def wave(x: Array) -> Array:
        return eta_min + height * (1 + np.cos(np.pi * x)) / 2

    return curve


@register("torch.SWALR", holds=False, clock="epoch")
def swalr(
    span: Span,
    *,
    swa_lr: float | list[float],
    anneal_epochs: int = 10,
    anneal_strategy: Anneal = "cos",
    last_epoch: int = -1,
) -> Curve:
    """From the base LR to a constant one, at which weights are averaged.

    lr(t) = a · swa_lr + (1 - a) · base, x = min(1, t / anneal_epochs), a = (1 - cos π x) / 2 for
    `cos`, x for `linear`. With anneal_epochs 0, swa_lr from the first step on.

    Source: Izmailov et al., Averaging weights, 2018, https://arxiv.org/abs/1803.05407.
    """
    check_last_epoch(last_epoch)
    if anneal_epochs < 0:
        raise BadArgument("anneal_epochs", f"expected at least 0, got {anneal_epochs}")
    end = of_group(span, "swa_lr", swa_lr)

    def curve(t: Array) -> Array:
        x = np.minimum(1.0, t / anneal_epochs) if anneal_epochs else np.ones_like(t)
        a = (1 - np.cos(np.pi * x)) / 2 if anneal_strategy == "cos" else x
        return np.asarray(end * a + span.start * (1 - a))

    return curve


def _power(base: float, exponent: Array) -> Array:
    """base^k for whole k from 0 on, growing to inf as torch's products do."""
    powers = np.zeros_like(exponent)
    vanished = 746 / -math.log(abs(base)) if 0 < abs(base) < 1 else math.inf
    alive = exponent <= vanished  # beyond it the power is 0 in float64, and slow to compute
    with np.errstate(over="ignore"):
        powers[alive] = np.float64(base) ** exponent[alive]
    return powers


def _in_unit(name: str, factor: float) -> None:
    if not 0 <= factor <= 1:
        raise BadArgument(name, f"expected a factor from 0 to 1, as torch does, got {factor:g}")

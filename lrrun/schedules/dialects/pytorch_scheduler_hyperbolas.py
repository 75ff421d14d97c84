"""pytorch_scheduler's hyperbolic schedulers, plain and in the exponent."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lrrun.schedules.base import Array, BadArgument, Curve, Span
from lrrun.schedules.catalogue import register
from lrrun.schedules.dialects.pytorch_scheduler import check_floor, check_steps, positive
from lrrun.schedules.dialects.torch import check_last_epoch


@register("pytorch_scheduler.HyperbolicLRScheduler", holds=False, clock="step")
def hyperbolic_lr_scheduler(
    span: Span,
    *,
    total_steps: int,
    upper_bound: int,
    min_lr: float = 1e-6,
    warmup_steps: int = 0,
    last_epoch: int = -1,
) -> Curve:
    """Down along a hyperbola whose first part hardly depends on the number of steps.

    lr(s) = base + (base - min_lr) · (f(x) - f(0)), f(x) = √((N - x) / U · (2 - (N + x) / U)), where
    x = s - W, N = T - W, U = upper_bound; the warmup starts at min_lr. Trap: it ends above min_lr
    unless U = N.

    Source: Kim, HyperbolicLR, 2024, https://arxiv.org/abs/2407.15200.
    """
    _check_hyperbola(total_steps, upper_bound, warmup_steps, last_epoch)
    check_floor(min_lr)
    fall = _hyperbola(total_steps - warmup_steps, upper_bound)
    base = span.start
    return _hyperbolic(
        base, min_lr, warmup_steps, lambda x: np.asarray(base + (base - min_lr) * fall(x))
    )


@register("pytorch_scheduler.ExpHyperbolicLRScheduler", holds=False, clock="step")
def exp_hyperbolic_lr_scheduler(
    span: Span,
    *,
    total_steps: int,
    upper_bound: int,
    min_lr: float = 1e-6,
    warmup_steps: int = 0,
    last_epoch: int = -1,
) -> Curve:
    """The hyperbola in the exponent: the LR falls by equal shares where it falls by equal parts.

    lr(s) = base · (base / min_lr)^(f(x) - f(0)), with f, x, N and U as in HyperbolicLRScheduler;
    the warmup starts at min_lr. Trap: it ends above min_lr unless U = N.

    Source: Kim, HyperbolicLR, 2024, https://arxiv.org/abs/2407.15200.
    """
    _check_hyperbola(total_steps, upper_bound, warmup_steps, last_epoch)
    positive("min_lr", min_lr)
    fall = _hyperbola(total_steps - warmup_steps, upper_bound)
    base = span.start
    return _hyperbolic(
        base, min_lr, warmup_steps, lambda x: np.asarray(base * (base / min_lr) ** fall(x))
    )


def _check_hyperbola(
    total_steps: int, upper_bound: int, warmup_steps: int, last_epoch: int
) -> None:
    check_last_epoch(last_epoch)
    check_steps(total_steps, warmup_steps)
    if upper_bound < total_steps:
        text = f"expected at least total_steps = {total_steps}, got {upper_bound}"
        raise BadArgument("upper_bound", text)


def _hyperbola(length: int, bound: int) -> Callable[[Array], Array]:
    """f(x) - f(0), which falls from 0; x is held at `length`."""

    def f(x: Array) -> Array:
        return np.sqrt((length - x) / bound * (2.0 - (length + x) / bound))

    return lambda x: f(np.minimum(x, length)) - f(np.zeros(1))


def _hyperbolic(base: float, min_lr: float, warmup: int, after: Callable[[Array], Array]) -> Curve:
    """A line from min_lr to base over the warmup, then `after` (steps since its end → LR)."""

    def curve(s: Array) -> Array:
        lrs = after(np.maximum(s - warmup, 0.0))
        if not warmup:
            return lrs
        return np.where(s <= warmup, min_lr + (base - min_lr) * (s / warmup), lrs)

    return curve

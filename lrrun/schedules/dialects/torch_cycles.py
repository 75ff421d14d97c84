"""torch.optim.lr_scheduler: OneCycleLR and CyclicLR, which bring their own LR and drive momentum.

Both count steps, as torch documents them, and both bring their own LR, so the optimizer's plays no
part. Source: https://docs.pytorch.org/docs/stable/optim.html, version 2.13.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from lrrun.schedules.base import Array, BadArgument, Curve, Driven, ScheduleEnded, Span
from lrrun.schedules.catalogue import register
from lrrun.schedules.dialects.torch import (
    Anneal,
    check_last_epoch,
    lambda_of,
    of_group,
    raising_from,
)

Phase = tuple[float, str, str]
"""(its last step, the height that it leaves, the height that it reaches)."""


@register("torch.OneCycleLR", holds=False, clock="step", own_lr="max_lr")
def one_cycle_lr(
    span: Span,
    *,
    max_lr: float | list[float],
    total_steps: int | None = None,
    epochs: int | None = None,
    steps_per_epoch: int | None = None,
    pct_start: float = 0.3,
    anneal_strategy: Anneal = "cos",
    cycle_momentum: bool = True,
    base_momentum: float | list[float] = 0.85,
    max_momentum: float | list[float] = 0.95,
    div_factor: float = 25.0,
    final_div_factor: float = 10000.0,
    three_phase: bool = False,
    last_epoch: int = -1,
) -> Curve:
    """Up to `max_lr` over `pct_start` of the steps, then far below where it began.

    From max_lr / div_factor to max_lr at step pct_start · T - 1, then down to max_lr / div_factor /
    final_div_factor at step T - 1, T = total_steps (or epochs · steps_per_epoch); with
    `three_phase`, back to the initial LR as fast as it rose, then down. Each way is half a cosine
    wave (`cos`) or straight (`linear`). The momentum goes the other way, from max_momentum to
    base_momentum and back. Traps: step T is extrapolated (below 0 when linear), step T + 1 raises.

    Source: Smith & Topin, Super-convergence, 2017, https://arxiv.org/abs/1708.07120.
    """
    check_last_epoch(last_epoch)
    total = _total(span, total_steps, epochs, steps_per_epoch)
    if not 0 <= pct_start <= 1:
        raise BadArgument("pct_start", f"expected a fraction from 0 to 1, got {pct_start:g}")
    for name, divisor in (("div_factor", div_factor), ("final_div_factor", final_div_factor)):
        if divisor == 0:
            raise BadArgument(name, "expected a divisor, got 0")
    heights = one_cycle_heights(of_group(span, "max_lr", max_lr), div_factor, final_div_factor)
    lr_phases, momentum_phases = one_cycle_phases(total, pct_start, three_phase)
    if lr_phases[0][0] == 0:
        text = (
            f"the rise to max_lr is to end at step 0 (pct_start · {total} - 1); torch divides by it"
        )
        raise BadArgument("pct_start", text)
    reason = f"torch raises past total_steps ({total})"
    lr = raising_from(total + 1, phased(lr_phases, heights, anneal_strategy), reason)
    if not cycle_momentum:
        return lr
    ends = {
        "base": of_group(span, "base_momentum", base_momentum),
        "max": of_group(span, "max_momentum", max_momentum),
    }
    momentum = phased(momentum_phases, ends, anneal_strategy)
    return Driven(lr, raising_from(total + 1, momentum, reason))


@register("torch.CyclicLR", holds=False, clock="step", own_lr="max_lr")
def cyclic_lr(
    span: Span,
    *,
    base_lr: float | list[float],
    max_lr: float | list[float],
    step_size_up: int | float = 2000,
    step_size_down: int | float | None = None,
    mode: Literal["triangular", "triangular2", "exp_range"] = "triangular",
    gamma: float = 1.0,
    scale_fn: Any = None,
    scale_mode: Literal["cycle", "iterations"] = "cycle",
    cycle_momentum: bool = True,
    base_momentum: float | list[float] = 0.8,
    max_momentum: float | list[float] = 0.9,
    last_epoch: int = -1,
) -> Curve:
    """Triangles between `base_lr` and `max_lr`, without end.

    lr(t) = base_lr + (max_lr - base_lr) · h(t) · a, with h the triangle that rises from 0 to 1 over
    step_size_up steps and falls over step_size_down (as many, unless given), and a = 1
    (`triangular`), 2^(1 - c) (`triangular2`) or gamma^t (`exp_range`) in cycle c = 1, 2, …; with a
    `scale_fn`, a is that expression of c or of t, as `scale_mode` says. The momentum goes the other
    way.

    Source: Smith, Cyclical learning rates, 2017, https://arxiv.org/abs/1506.01186.
    """
    check_last_epoch(last_epoch)
    if step_size_up <= 0:
        raise BadArgument("step_size_up", f"expected more than 0 steps, got {step_size_up}")
    if step_size_down is not None and step_size_down < 0:
        raise BadArgument("step_size_down", f"expected at least 0 steps, got {step_size_down}")
    size = float(step_size_up) + float(step_size_up if step_size_down is None else step_size_down)
    ratio = step_size_up / size
    f = None if scale_fn is None else lambda_of(span, "scale_fn", scale_fn, "x")

    def scale(t: Array, cycle: Array) -> Array:
        if f is not None:
            x, where = np.unique(cycle if scale_mode == "cycle" else t, return_inverse=True)
            return np.array([f(each) for each in x])[where].reshape(t.shape)
        if mode == "triangular":
            return np.ones_like(t)
        with np.errstate(over="ignore"):
            return np.asarray(2.0 ** (1 - cycle) if mode == "triangular2" else gamma**t)

    def height(t: Array) -> Array:
        cycle = np.floor(1 + t / size)
        x = 1.0 + t / size - cycle
        falling = (x - 1) / (ratio - 1 if ratio != 1 else -1)
        return np.where(x <= ratio, x / ratio, falling) * scale(t, cycle)

    low, high = of_group(span, "base_lr", base_lr), of_group(span, "max_lr", max_lr)
    if not cycle_momentum:
        return lambda t: low + (high - low) * height(t)
    least = of_group(span, "base_momentum", base_momentum)
    most = of_group(span, "max_momentum", max_momentum)
    return Driven(
        lambda t: low + (high - low) * height(t),
        lambda t: most - (most - least) * height(t),
    )


def one_cycle_heights(
    max_lr: float, div_factor: float, final_div_factor: float
) -> dict[str, float]:
    """The LRs between which OneCycleLR goes."""
    initial = max_lr / div_factor
    return {"initial": initial, "max": max_lr, "min": initial / final_div_factor}


def one_cycle_phases(
    total: int, pct_start: float, three_phase: bool
) -> tuple[list[Phase], list[Phase]]:
    """OneCycleLR's phases of the LR and of the momentum, over `total` steps."""
    up, end = pct_start * total - 1, float(total - 1)
    if not three_phase:
        lr = [(up, "initial", "max"), (end, "max", "min")]
        return lr, [(up, "max", "base"), (end, "base", "max")]
    back = 2 * pct_start * total - 2
    lr = [(up, "initial", "max"), (back, "max", "initial"), (end, "initial", "min")]
    return lr, [(up, "max", "base"), (back, "base", "max"), (end, "max", "max")]


def phased(phases: Sequence[Phase], heights: Mapping[str, float], anneal: Anneal) -> Curve:
    """One phase after another; the last one goes on past its end."""

    def curve(t: Array) -> Array:
        values = np.empty_like(t)
        left = np.ones_like(t, dtype=bool)
        begin = 0.0
        for k, (end, low, high) in enumerate(phases):
            mine = left & ((t <= end) | (k == len(phases) - 1))
            if np.any(mine):
                if end == begin:
                    raise ScheduleEnded(f"no LR at step {begin:g}: torch divides by a phase of 0")
                x = (t[mine] - begin) / (end - begin)
                values[mine] = _between(heights[low], heights[high], x, anneal)
            left &= ~mine
            begin = end
        return values

    return curve


def _between(start: float, end: float, x: Array, anneal: Anneal) -> Array:
    if anneal == "linear":
        return (end - start) * x + start
    return end + (start - end) / 2.0 * (np.cos(np.pi * x) + 1)


def _total(
    span: Span, total_steps: int | None, epochs: int | None, steps_per_epoch: int | None
) -> int:
    """Torch's rule: total_steps, or epochs times steps_per_epoch."""
    given = {"total_steps": total_steps, "epochs": epochs, "steps_per_epoch": steps_per_epoch}
    used = ["total_steps"] if total_steps is not None else ["epochs", "steps_per_epoch"]
    total = 1
    for name in used:
        value = given[name]
        if value is None:
            text = "OneCycleLR needs total_steps, or epochs and steps_per_epoch"
            run = span.units.total_steps
            raise BadArgument("total_steps", f"{text}; write total_steps: {run} for the whole run")
        if value <= 0:
            raise BadArgument(name, f"expected at least 1, got {value}")
        total *= value
    return total

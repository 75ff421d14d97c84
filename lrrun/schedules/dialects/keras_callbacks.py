"""Keras' two callbacks that set the LR.

They count epochs and write a float32 variable: their values are rounded to float32 each time, as
Keras' are.

Source: https://keras.io/api/callbacks/, version 3.15.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from lrrun.schedules.base import BadArgument, Curve, Span
from lrrun.schedules.catalogue import register
from lrrun.schedules.dialects.recursion import Recursion
from lrrun.schedules.expression import expression
from lrrun.schedules.feedback import KerasRule, Mode, Reactive


@register("keras.LearningRateScheduler", holds=False, clock="epoch")
def learning_rate_scheduler(span: Span, *, schedule: Any, verbose: int = 0) -> Curve:
    """The LR that an expression of `epoch` and the current `lr` gives, at the start of each epoch.

    lr(t) = f(t, lr(t - 1)), with lr(-1) the base LR; each value is rounded to float32. The
    expression may be of the epoch alone. `verbose` is Keras' printing and changes nothing.
    """
    f = _function(schedule)
    start = float(np.float32(span.start))
    return Recursion(lambda t, lr: float(np.float32(f(t, lr if t else start))))


def _function(written: Any) -> Callable[[float, float], float]:
    """A function of epoch and lr, or of the epoch alone; raises BadArgument."""
    try:
        return expression(written, "epoch", "lr")
    except ValueError as error:
        try:
            of_epoch = expression(written, "epoch")
        except ValueError:
            raise BadArgument("schedule", str(error)) from None
        return lambda epoch, lr: of_epoch(epoch)


_RISING = """
    acc accuracy auc binary_accuracy binary_io_u categorical_accuracy concordance_correlation
    cosine_similarity f1_score fbeta_score mean_io_u one_hot_mean_io_u pearson_correlation precision
    precision_at_recall r2_score recall recall_at_precision sensitivity_at_specificity
    sparse_categorical_accuracy sparse_top_k_categorical_accuracy specificity_at_sensitivity
    top_k_categorical_accuracy"""
_FALLING = """
    loss binary_crossentropy categorical_crossentropy categorical_hinge hinge kl_divergence
    logcosh mae mape mean_absolute_error mean_absolute_percentage_error mean_squared_error
    mean_squared_logarithmic_error mse msle poisson root_mean_squared_error
    sparse_categorical_crossentropy squared_hinge"""


@dataclass(frozen=True, slots=True)
class _Float32Improvement:
    """Keras' comparison: metric ± min_delta against the best, in float32."""

    mode: Mode
    min_delta: float

    def better(self, metric: float, best: float | None) -> bool:
        """Is `metric` better than `best`, where None is nothing seen yet?"""
        if best is None:
            return True
        if self.mode == "min":
            return bool(np.float32(metric + self.min_delta) < np.float32(best))
        return bool(np.float32(metric - self.min_delta) > np.float32(best))


@register("keras.ReduceLROnPlateau", holds=False, clock="epoch")
def reduce_lr_on_plateau(
    span: Span,
    *,
    monitor: str = "val_loss",
    factor: float = 0.1,
    patience: int = 10,
    verbose: int = 0,
    mode: Literal["auto", "min", "max"] = "auto",
    min_delta: float = 1e-4,
    cooldown: int = 0,
    min_lr: float = 0.0,
) -> Curve:
    """The LR times `factor` at the `patience`-th epoch in a row without improvement.

    lr → max(lr · factor, min_lr), rounded to float32. An epoch is good when its metric is below
    best - |min_delta| (mode min) or above best + |min_delta| (max); `auto` knows the direction of
    Keras' own metrics. It cuts one epoch sooner than torch. `verbose` changes nothing.

    Source: https://keras.io/api/callbacks/reduce_lr_on_plateau/.
    """
    if factor >= 1.0:
        raise BadArgument("factor", f"expected a factor below 1, as Keras does, got {factor:g}")
    direction = _direction(monitor) if mode == "auto" else mode
    rule = KerasRule(_Float32Improvement(direction, abs(min_delta)), patience, cooldown)

    def cut(lr: float, act: str) -> float:
        return float(np.float32(max(lr * factor, min_lr))) if lr > np.float32(min_lr) else lr

    return Reactive(float(np.float32(span.start)), monitor, rule, cut)


def _direction(monitor: str) -> Mode:
    name = monitor.removeprefix("val_")
    if name in _RISING.split():
        return "max"
    if name in _FALLING.split():
        return "min"
    text = f"{monitor!r} does not tell whether more or less of it is better; add mode: min or max"
    raise BadArgument("monitor", text)

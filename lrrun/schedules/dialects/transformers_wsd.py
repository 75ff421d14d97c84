"""transformers.optimization: warmup-stable-decay.

Source: https://huggingface.co/docs/transformers/main_classes/optimizer_schedules, version 5.23.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from lrrun.schedules.base import Array, BadArgument, Curve, Span
from lrrun.schedules.catalogue import register
from lrrun.schedules.dialects.torch import check_last_epoch
from lrrun.schedules.dialects.transformers import after_warmup, times, whole_run

Shape = Literal["linear", "cosine", "1-sqrt"]


@register("transformers.get_wsd_schedule", holds=False, clock="step")
def get_wsd_schedule(
    span: Span,
    *,
    num_warmup_steps: int,
    num_decay_steps: int,
    num_training_steps: int | None = None,
    num_stable_steps: int | None = None,
    warmup_type: Shape = "linear",
    decay_type: Shape = "cosine",
    min_lr_ratio: float = 0.0,
    num_cycles: float = 0.5,
    last_epoch: int = -1,
) -> Curve:
    """Warmup, stable, decay.

    lr(s) = base · (r + (1 - r) · f), r = min_lr_ratio: f rises from 0 over W steps (x, (1 - cos πx)
    / 2 or 1 - √(1 - x), as warmup_type says), is 1 for num_stable_steps (T - W - num_decay_steps
    unless given, and given it is what counts), falls over num_decay_steps (1 - x, (1 + cos(2π ·
    num_cycles · x)) / 2 or 1 - √x), and is 0 after. Trap: r lifts the start of the warmup, too.

    Source: Hu et al., MiniCPM, 2024, https://arxiv.org/abs/2404.06395.
    """
    check_last_epoch(last_epoch)
    if num_stable_steps is None:
        if num_training_steps is None:
            text = "expected num_training_steps or num_stable_steps, got neither"
            raise BadArgument("num_training_steps", f"{text}; {whole_run(span)}")
        num_stable_steps = num_training_steps - num_warmup_steps - num_decay_steps
    decay_begin = num_warmup_steps + num_stable_steps

    def rise(s: Array) -> Array:
        return _lifted(_risen(s / max(1, num_warmup_steps), warmup_type), min_lr_ratio)

    def fall(s: Array) -> Array:
        x = np.maximum(0.0, (s - decay_begin) / max(1, num_decay_steps))
        falling = _lifted(_fallen(x, decay_type, num_cycles), min_lr_ratio)
        after = np.where(s < decay_begin + num_decay_steps, falling, min_lr_ratio)
        return np.where(s < decay_begin, 1.0, after)

    return times(span.start, after_warmup(num_warmup_steps, fall, rise))


def _risen(x: Array, shape: Shape) -> Array:
    if shape == "cosine":
        return 0.5 * (1.0 - np.cos(np.pi * x))
    return 1.0 - np.sqrt(1.0 - x) if shape == "1-sqrt" else x


def _fallen(x: Array, shape: Shape, num_cycles: float) -> Array:
    if shape == "cosine":
        return 0.5 * (1.0 + np.cos(np.pi * num_cycles * 2.0 * x))
    return 1.0 - (np.sqrt(x) if shape == "1-sqrt" else x)


def _lifted(factor: Array, floor: float) -> Array:
    return np.maximum(0.0, factor * (1.0 - floor) + floor)

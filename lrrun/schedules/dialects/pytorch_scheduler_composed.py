"""pytorch_scheduler's compositions: a warmup in front of a scheduler, and schedulers in a row."""

from __future__ import annotations

from typing import Literal

import numpy as np

from lrrun.schedules.base import Array, BadArgument, Curve, Span
from lrrun.schedules.catalogue import Section, register
from lrrun.schedules.dialects.nesting import built, inner
from lrrun.schedules.dialects.torch import check_last_epoch


@register("pytorch_scheduler.WarmupScheduler", holds=False, clock="step")
def warmup_scheduler(
    span: Span,
    *,
    base_scheduler: Section,
    warmup_steps: int,
    warmup_type: Literal["linear", "cosine", "exponential"] = "linear",
    last_epoch: int = -1,
) -> Curve:
    """A warmup from 0 to the base LR, then another scheduler, counting from the warmup's end.

    Before W = warmup_steps: lr(s) = base · g(s / W), g linear x, cosine (1 - cos π x) / 2,
    exponential (in truth a parabola) x². base_scheduler has its own total_steps, which exclude W.
    """
    check_last_epoch(last_epoch)
    after = built(inner(base_scheduler, "pytorch_scheduler"), span)

    def curve(s: Array) -> Array:
        lrs = np.empty_like(s)
        early = s < warmup_steps
        lrs[~early] = after(s[~early] - warmup_steps)
        x = s[early] / warmup_steps if warmup_steps else s[early]
        if warmup_type == "cosine":
            x = 0.5 * (1.0 - np.cos(np.pi * x))
        elif warmup_type == "exponential":
            x = x**2
        lrs[early] = span.start * x
        return lrs

    return curve


@register("pytorch_scheduler.SequentialComposer", holds=False, clock="step")
def sequential_composer(
    span: Span, *, schedulers: list[Section], milestones: list[int], last_epoch: int = -1
) -> Curve:
    """Schedulers one after another, each from the base LR and counting from its own milestone.

    lr(s) = schedulers[k](s - milestones[k - 1]), with k the number of milestones at or below s.
    """
    check_last_epoch(last_epoch)
    if len(milestones) != len(schedulers) - 1:
        text = f"expected one less than schedulers ({len(schedulers)}), got {len(milestones)}"
        raise BadArgument("milestones", text)
    if milestones != sorted(milestones) or any(each < 0 for each in milestones):
        raise BadArgument("milestones", f"expected rising steps of at least 0, got {milestones}")
    curves = [built(inner(each, "pytorch_scheduler"), span) for each in schedulers]
    begins = [0, *milestones]

    def curve(s: Array) -> Array:
        owner, lrs = np.searchsorted(milestones, s, side="right"), np.empty_like(s)
        for k in np.unique(owner):
            lrs[owner == k] = curves[k](s[owner == k] - begins[k])
        return lrs

    return curve

"""timm's PlateauLRScheduler: a warmup by epochs, then torch's plateau rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from lrrun.schedules.base import Array, BadArgument, Curve, Span
from lrrun.schedules.catalogue import register
from lrrun.schedules.dialects.timm_parts import Noise, Warmup
from lrrun.schedules.feedback import Improvement, Reactive, TorchRule, cut


class _AfterWarmup:
    """A plateau that neither acts nor listens during the warmup, with the noise on what follows."""

    def __init__(
        self, base: float, plateau: Reactive, warmup: Warmup, noise: Noise, epoch: float
    ) -> None:
        self.base = base
        self.plateau = plateau
        self.warmup = warmup
        self.noise = noise
        self.epoch = epoch

    def __call__(self, steps: Array) -> Array:
        """The LR at the part's own steps, given all that was observed."""
        t = np.floor(steps / self.epoch)
        lrs = self.plateau(steps) * self.noise.factor(np.where(t > self.warmup.length, t, 0.0))
        if not self.warmup.length:
            return lrs
        line = self.warmup.line(t, self.base)
        return np.where(t <= self.warmup.length, line, lrs)

    def observe(self, step: int, metrics: Mapping[str, float]) -> bool:
        """Take the metrics of an evaluation after `step` updates; raises KeyError."""
        if step // self.epoch <= self.warmup.length:
            return False
        return self.plateau.observe(step, metrics)

    def state(self) -> dict[str, Any]:
        """What the plateau has learnt."""
        return self.plateau.state()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state()` gave."""
        self.plateau.restore(state)


@register("timm.PlateauLRScheduler", holds=False, clock="epoch")
def plateau_lr_scheduler(
    span: Span,
    *,
    decay_rate: float = 0.1,
    patience_t: int = 10,
    threshold: float = 1e-4,
    cooldown_t: int = 0,
    warmup_t: int = 0,
    warmup_lr_init: float = 0.0,
    lr_min: float = 0.0,
    mode: Literal["min", "max"] = "max",
    noise_range_t: list[int | float] | int | float | None = None,
    noise_type: str = "normal",
    noise_pct: float = 0.67,
    noise_std: float = 1.0,
    noise_seed: int | None = None,
    metric: str = "val_loss",
) -> Curve:
    """The LR times `decay_rate` when a metric has stopped improving, after a warmup.

    lr → max(lr · decay_rate, lr_min) after more than patience_t epochs in a row that are not better
    than the best by the share `threshold`. Nothing is watched up to epoch warmup_t. Trap: mode is
    max unless said otherwise, which suits an accuracy: name it in `metric`. That key is ours, since
    timm is given the value itself.

    Source: timm/scheduler/plateau_lr.py; torch.optim.lr_scheduler.ReduceLROnPlateau.
    """
    if decay_rate >= 1:
        raise BadArgument("decay_rate", f"expected less than 1, as torch does, got {decay_rate:g}")
    if warmup_t < 0:
        raise BadArgument("warmup_t", f"expected at least 0, got {warmup_t}")
    noise = Noise(noise_range_t, noise_pct, noise_std, noise_seed, noise_type != "normal")
    rule = TorchRule(Improvement.by(mode, threshold, "rel"), patience_t, cooldown_t)
    plateau = Reactive(span.start, metric, rule, cut(decay_rate, lr_min, eps=1e-8))
    if not warmup_t and noise_range_t is None:
        return plateau
    if span.units.steps_per_epoch is None:
        name = "warmup_t" if warmup_t else "noise_range_t"
        text = "it counts epochs, and the steps in an epoch are not known here"
        raise BadArgument(name, f"{text}; give --steps-per-epoch")
    warmup = Warmup(warmup_t, warmup_lr_init, prefix=True)
    epoch = span.units.steps_per_epoch * span.units.scale
    return _AfterWarmup(span.start, plateau, warmup, noise, epoch)

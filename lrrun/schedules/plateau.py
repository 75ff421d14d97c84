"""Schedules that answer to a metric: plateau and GreedyLR, alone or anywhere in a sequence."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from lrrun.schedules.base import BadArgument, Curve, Span
from lrrun.schedules.catalogue import register
from lrrun.schedules.falls import told
from lrrun.schedules.feedback import (
    Improvement,
    KerasRule,
    Memory,
    Mode,
    OptaxRule,
    Reactive,
    Rule,
    TorchRule,
    cut,
)
from lrrun.units import Fraction, Height

ThresholdMode = Literal["rel", "abs"]

_RULES: dict[str, Callable[[Improvement, int, int], Rule]] = {
    "torch": TorchRule,
    "keras": KerasRule,
    "optax": OptaxRule,
}


@register("plateau")
def plateau(
    span: Span,
    *,
    metric: str = "val_loss",
    mode: Mode = "min",
    factor: Fraction = Fraction(0.1),
    patience: int = 10,
    threshold: float = 1e-4,
    threshold_mode: ThresholdMode = "rel",
    cooldown: int = 0,
    min_lr: Height = Height(0.0),
    eps: float = 1e-8,
    rule: Literal["torch", "keras", "optax"] = "torch",
) -> Curve:
    """Constant, but multiplied by `factor` when a metric has stopped improving.

    An evaluation is bad unless its metric is below best · (1 - threshold) (`rel`) or below best -
    threshold (`abs`); `mode: max` mirrors this; a nan is bad. More than `patience` bad evaluations
    in a row make lr → max(lr · factor, min_lr), unless that lowers it by no more than `eps`, and
    nothing is counted during the `cooldown` evaluations after. Patience and cooldown count
    evaluations. `rule` says how: torch's as above; keras' and optax' cut one bad evaluation sooner
    and differ in when the cooldown ends. A part after this one starts from the LR it came down to.

    Source: torch.optim.lr_scheduler.ReduceLROnPlateau.
    """
    _check(factor, patience, threshold, cooldown, eps)
    floor = min_lr.of(span.base)
    if floor > span.base:
        text = f"expected at most the base LR {span.base:g}, got {told(min_lr, floor)}"
        raise BadArgument("min_lr", f"{text}; the LR would never be cut")
    if rule != "torch" and patience == 0:
        raise BadArgument("patience", f"expected at least 1 under {rule}'s rule, got 0")
    improvement = Improvement.by(mode, threshold, threshold_mode)
    decide = _RULES[rule](improvement, patience, cooldown)
    return Reactive(span.start, metric, decide, cut(factor, floor, eps))


@register("greedy")
def greedy(
    span: Span,
    *,
    metric: str = "val_loss",
    mode: Mode = "min",
    factor: Fraction = Fraction(0.95),
    patience: int = 10,
    threshold: float = 1e-6,
    threshold_mode: ThresholdMode = "abs",
    cooldown: int = 0,
    warmup: int = 0,
    min_lr: Height = Height(0.0),
    max_lr: Height = Height(10.0, relative=True),
    eps: float = 1e-8,
    window: int = 1,
    reset: int = 500,
) -> Curve:
    """GreedyLR: up while a metric improves, down while it does not.

    More than `patience` good evaluations in a row make lr → min(lr / factor, max_lr), and more than
    `patience` bad ones lr → max(lr · factor, min_lr), each unless it changes less than `eps`. An
    evaluation is the mean of the last `window` metrics. Nothing is counted during the `warmup`
    evaluations after a rise and the `cooldown` evaluations after a cut. The `reset`-th cut in a row
    that finds the LR at `min_lr` puts everything back to the start. Our bounds follow the base LR;
    the published code's, 1e-3 and 1.0 absolute, let a usual fine-tuning LR only rise.

    Source: arXiv:2512.14527; transformers.optimization.GreedyLR.
    """
    _check(factor, patience, threshold, cooldown, eps)
    low, high = min_lr.of(span.base), max_lr.of(span.base)
    if low > span.base:
        text = f"expected at most the base LR {span.base:g}, got {told(min_lr, low)}"
        raise BadArgument("min_lr", text)
    if high < span.base:
        text = f"expected at least the base LR {span.base:g}, got {told(max_lr, high)}"
        raise BadArgument("max_lr", text)
    for name, value in (("warmup", warmup), ("window", window - 1), ("reset", reset - 1)):
        if value < 0:
            least = 0 if name == "warmup" else 1
            raise BadArgument(name, f"expected at least {least}, got {value + least}")
    improvement = Improvement.by(mode, threshold, threshold_mode)
    rule = Greedy(
        improvement, patience, cooldown, warmup, span.start, factor, low, high, eps, window, reset
    )
    return Reactive(span.start, metric, rule, rule.effect)


@dataclass(frozen=True, slots=True)
class Greedy:
    """GreedyLR's rule and effect; its resets depend on the LR, so it is both.

    The acts are "raise", "cut" and "reset".
    """

    improvement: Improvement
    patience: int
    cooldown: int
    warmup: int
    start: float
    factor: float
    min_lr: float
    max_lr: float
    eps: float = 1e-8
    window: int = 1
    reset: int = 500

    def begin(self) -> Memory:
        """Nothing seen; `stuck` counts the cuts that found the LR at its minimum."""
        return {
            "best": None,
            "bad": 0,
            "good": 0,
            "cooldown": 0,
            "warmup": 0,
            "stuck": 0,
            "recent": [],
            "sum": 0.0,
        }

    def step(self, memory: Memory, metric: float, lr: float) -> tuple[Memory, str | None]:
        """One evaluation."""
        now = self._smoothed(memory, metric)
        value = metric if self.window == 1 else now["sum"] / len(now["recent"])
        for rest in ("cooldown", "warmup"):
            if now[rest] > 0:
                return {**now, rest: now[rest] - 1, "bad": 0, "good": 0}, None
        if self.improvement.better(value, now["best"]):
            now.update(best=value, bad=0, good=now["good"] + 1)
        else:
            now.update(bad=now["bad"] + 1, good=0)
        if now["good"] > self.patience:
            return {**now, "warmup": self.warmup, "good": 0, "stuck": 0}, "raise"
        if now["bad"] <= self.patience:
            return now, None
        if self.effect(lr, "cut") > self.min_lr:
            return {**now, "cooldown": self.cooldown, "bad": 0}, "cut"
        if now["stuck"] + 1 < self.reset:
            return {**now, "cooldown": self.cooldown, "bad": 0, "stuck": now["stuck"] + 1}, "cut"
        return {**self.begin(), "cooldown": self.cooldown}, "reset"

    def effect(self, lr: float, act: str) -> float:
        """The LR after an act."""
        if act == "reset":
            return self.start
        if act == "cut":
            return cut(self.factor, self.min_lr, self.eps)(lr, act)
        higher = min(lr / self.factor, self.max_lr)
        return higher if higher - lr > self.eps else lr

    def _smoothed(self, memory: Memory, metric: float) -> Memory:
        """The memory with this metric in its window; the running sum is the published code's."""
        if self.window == 1:
            return dict(memory)
        recent = [*memory["recent"], metric]
        total = memory["sum"] + metric
        if len(recent) > self.window:
            total -= recent.pop(0)
        if not math.isfinite(total):  # a nan leaves the mean together with its metric
            total = sum(recent)
        return {**memory, "recent": recent, "sum": total}


def _check(factor: float, patience: int, threshold: float, cooldown: int, eps: float) -> None:
    """Refuse what no plateau can mean."""
    if not 0 < factor < 1:
        raise BadArgument("factor", f"expected a factor between 0 and 1, got {factor:g}")
    for name, value in (
        ("patience", patience),
        ("threshold", threshold),
        ("cooldown", cooldown),
        ("eps", eps),
    ):
        if not value >= 0:
            raise BadArgument(name, f"expected at least 0, got {value:g}")

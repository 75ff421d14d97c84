"""mmengine's param_scheduler: a plateau, and a list of schedulers stepped in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from lrrun.errors import ConfigError, Problem
from lrrun.schedules.base import Array, BadArgument, Curve, PerStep, Span
from lrrun.schedules.catalogue import Section, register
from lrrun.schedules.dialects.mmengine_stepping import INF, Chain, Scheduler
from lrrun.schedules.dialects.nesting import built, inner
from lrrun.schedules.dialects.torch import of_group
from lrrun.schedules.feedback import Effect, Improvement, TorchRule, cut


@dataclass(frozen=True, slots=True)
class _Better:
    """mmengine's comparison, whose best is 1e9 (or -1e9) before anything is seen."""

    improvement: Improvement

    def better(self, metric: float, best: float | None) -> bool:
        """Is `metric` better than `best`, where None is nothing seen yet?"""
        worst = INF if self.improvement.mode == "min" else -INF
        return self.improvement.better(metric, worst if best is None else best)


@dataclass(frozen=True, slots=True)
class _Plateau:
    """A plateau of mmengine: when it listens, when it acts, what it does."""

    metric: str
    rule: TorchRule
    effect: Effect
    begin: int
    end: int


class Watched:
    """The LR under schedulers and plateaus; a Feedback that remembers at which step each acted."""

    def __init__(
        self,
        start: float,
        schedulers: Sequence[Scheduler],
        plateaus: Sequence[_Plateau],
        epoch: float | None,
    ) -> None:
        self.plateaus = plateaus
        self.schedulers = schedulers
        self._epoch = epoch
        self._memories = [each.rule.begin() for each in plateaus]
        self._acts: list[tuple[int, int]] = []
        self._chain = Chain(start, schedulers, epoch, self._acted)

    def __call__(self, steps: Array) -> Array:
        """The LR at the part's own steps, given all that was observed."""
        return self._chain(steps)

    def observe(self, step: int, metrics: Mapping[str, float]) -> bool:
        """Take the metrics of an evaluation after `step` updates of this part; did the LR change?

        Raises KeyError with the metric's name when it is not among `metrics`.
        """
        at = np.array([float(step)])
        before = float(self._chain(at)[0])
        epochs = step if self._epoch is None else step // self._epoch
        known = len(self._acts)
        for k, plateau in enumerate(self.plateaus):
            metric = float(metrics[plateau.metric])
            if plateau.begin <= epochs < plateau.end:
                self._memories[k], act = plateau.rule.step(self._memories[k], metric, before)
                if act is not None:
                    self._acts.append((step, k))
        if len(self._acts) == known:
            return False
        self._chain.restart()
        return float(self._chain(at)[0]) != before

    def state(self) -> dict[str, Any]:
        """The memory of every plateau, and every act as [step, plateau]."""
        memories = [dict(memory) for memory in self._memories]
        return {"memories": memories, "acts": [list(act) for act in self._acts]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state()` gave."""
        self._memories = [dict(memory) for memory in state["memories"]]
        self._acts = [(int(step), int(k)) for step, k in state["acts"]]
        self._chain.restart()

    def _acted(self, step: int, lr: float) -> float:
        for at, k in self._acts:
            if at == step:
                lr = self.plateaus[k].effect(lr, "cut")
        return lr


@register("mmengine.ReduceOnPlateauLR", holds=False, clock="epoch")
def reduce_on_plateau_lr(
    span: Span,
    *,
    monitor: str = "loss",
    rule: Literal["less", "greater"] = "less",
    factor: float = 0.1,
    patience: int = 10,
    threshold: float = 1e-4,
    threshold_rule: Literal["rel", "abs"] = "rel",
    cooldown: int = 0,
    min_value: float | list[float] = 0.0,
    eps: float = 1e-8,
    begin: int = 0,
    end: int = INF,
    by_epoch: bool = True,
) -> Curve:
    """The LR times `factor` when a metric has stopped improving: torch's rule.

    lr → max(lr · factor, min_value) after more than `patience` evaluations in a row without
    improvement, where that lowers it by more than eps; only evaluations after begin to end - 1
    epochs count. The validation's `loss` is our val_loss.

    Source: mmengine.optim.ReduceOnPlateauLR; torch.optim.lr_scheduler.ReduceLROnPlateau.
    """
    if factor >= 1:
        raise BadArgument("factor", f"expected less than 1, as mmengine does, got {factor:g}")
    if threshold < 0:
        raise BadArgument("threshold", f"expected at least 0, got {threshold:g}")
    if not by_epoch:
        raise BadArgument("by_epoch", "expected true: mmengine's plateau only counts epochs")
    if end <= begin:
        raise BadArgument("end", f"expected more than begin = {begin}, got {end}")
    improvement = Improvement.by("min" if rule == "less" else "max", threshold, threshold_rule)
    floor = of_group(span, "min_value", min_value)
    watched = "val_loss" if monitor == "loss" else monitor
    decide = TorchRule(_Better(improvement), patience, cooldown)
    plateau = _Plateau(watched, decide, cut(factor, floor, eps), begin, end)
    epoch = None if (begin, end) == (0, INF) else _epoch(span, "begin") * span.units.scale
    return Watched(span.start, [], [plateau], epoch)


@register("mmengine.list", holds=False, clock="epoch")
def scheduler_list(span: Span, *, schedulers: list[Section]) -> Curve:
    """Several of mmengine's schedulers at once, stepped in order: its `param_scheduler` list.

    Each changes the LR that those before it left while begin <= t < end, and holds still outside;
    so ranges that follow one another make a sequence, and ranges that overlap a product. Where one
    of them counts updates and another epochs, those that count updates are stepped first.

    Source: https://mmengine.readthedocs.io/en/latest/tutorials/param_scheduler.html.
    """
    chained: list[Scheduler] = []
    plateaus: list[_Plateau] = []
    for section in schedulers:
        part = inner(section, "mmengine")
        curve = built(part, span)
        curve = curve.curve if isinstance(curve, PerStep) else curve
        if not isinstance(curve, (Chain, Watched)) or part.entry.name == "mmengine.list":
            text = f"expected a scheduler, got {part.entry.name}"
            raise ConfigError([Problem(part.path, text)])
        chained += curve.schedulers
        plateaus += curve.plateaus if isinstance(curve, Watched) else []
    steps = {scheduler.per_step for scheduler in chained}
    if plateaus:
        epoch = _epoch(span, "schedulers") * span.units.scale
        return Watched(span.start, chained, plateaus, epoch)
    if steps == {True}:
        return PerStep(Chain(span.start, chained))
    if steps == {False}:
        return Chain(span.start, chained)
    return PerStep(Chain(span.start, chained, _epoch(span, "schedulers")))


def _epoch(span: Span, name: str) -> int:
    """The steps of an epoch; raises BadArgument, naming the argument that needs them."""
    if span.units.steps_per_epoch is None:
        text = "the steps in an epoch are not known here; give --steps-per-epoch"
        raise BadArgument(name, text)
    return span.units.steps_per_epoch

"""Feedback: learning rates that answer to a metric, as a rule that decides and an effect that acts.

A **rule** reads one evaluation after another and says when to act; all it knows is its *memory*, a
dict of plain data. An **effect** turns the LR before an act into the LR after it. A `Reactive`
curve joins the two and remembers the part's step of every act, so that its LR is a function of the
step: what was used before an act stays as it was. No memory holds an LR, so one list of acts,
replayed from each param group's own start, gives that group's own LRs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from lrrun.schedules.base import Array

Memory = dict[str, Any]
"""What a rule has learnt, as plain data; a missing best is None."""

Effect = Callable[[float, str], float]
"""(LR before, act) → LR after."""

Mode = Literal["min", "max"]


class Rule(Protocol):
    """When to act: a pure function of its memory, the metric and the LR in force."""

    def begin(self) -> Memory:
        """The memory before the first evaluation."""
        ...

    def step(self, memory: Memory, metric: float, lr: float) -> tuple[Memory, str | None]:
        """(memory after this evaluation, the act it calls for or None); `memory` is not changed."""
        ...


class Better(Protocol):
    """What counts as an improvement."""

    def better(self, metric: float, best: float | None) -> bool:
        """Is `metric` better than `best`, where None is nothing seen yet?"""
        ...


class Reactive:
    """A curve that keeps its LR until its rule acts: the Feedback that all plateaus share.

    `start` is the LR of the part's step 0 and `metric` the name of what the rule watches.

    >>> curve = Reactive(1.0, "val_loss", TorchRule(Improvement("min"), patience=0), cut(0.5))
    >>> [curve.observe(step, {"val_loss": 2.0}) for step in (10, 20)]
    [False, True]
    >>> curve(np.array([0.0, 19.0, 20.0]))
    array([1. , 1. , 0.5])
    """

    def __init__(self, start: float, metric: str, rule: Rule, effect: Effect) -> None:
        self.metric = metric
        self.rule = rule
        self.effect = effect
        self._lrs = [start]
        self._acts: list[tuple[int, str]] = []
        self._memory = rule.begin()

    def __call__(self, steps: Array) -> Array:
        """The LR at the part's own steps: the one after the last act at or before each step."""
        at = np.array([step for step, _ in self._acts], dtype=np.float64)
        return np.array(self._lrs)[np.searchsorted(at, steps, side="right")]

    def observe(self, step: int, metrics: Mapping[str, float]) -> bool:
        """Take an evaluation made after `step` updates of this part; did the LR change?

        An act changes the LR of the part's step `step` and of those after it. Raises KeyError with
        the metric's name when it is not among `metrics`.
        """
        before = self._lrs[-1]
        self._memory, act = self.rule.step(self._memory, float(metrics[self.metric]), before)
        if act is None:
            return False
        self._act(step, act)
        return self._lrs[-1] != before

    def state(self) -> dict[str, Any]:
        """The rule's memory, and every act with the part's step from which it holds."""
        return {**self._memory, "acts": [list(act) for act in self._acts]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state()` gave; the LRs are replayed from this curve's own start."""
        self._memory = {name: state[name] for name in self.rule.begin()}
        del self._lrs[1:], self._acts[:]
        for step, act in state["acts"]:
            self._act(int(step), str(act))

    def _act(self, step: int, act: str) -> None:
        self._acts.append((step, act))
        self._lrs.append(self.effect(self._lrs[-1], act))


def cut(factor: float, min_lr: float = 0.0, eps: float = 0.0) -> Effect:
    """The effect of a plateau: lr → max(lr · factor, min_lr), where that is lower by more than eps.

    >>> cut(0.1, min_lr=0.02)(0.1, "cut")
    0.02
    """

    def effect(lr: float, act: str) -> float:
        lower = max(lr * factor, min_lr)
        return lower if lr - lower > eps else lr

    return effect


@dataclass(frozen=True, slots=True)
class Improvement:
    """What counts as better than the best so far.

    mode min: metric < best · (1 - relative) - absolute; mode max: metric > best · (1 + relative) +
    absolute. A nan is never better; the first finite metric always is. With a negative best, a
    relative threshold lets equal and slightly worse values count as better.
    """

    mode: Mode
    relative: float = 0.0
    absolute: float = 0.0

    @classmethod
    def by(cls, mode: Mode, threshold: float, threshold_mode: Literal["rel", "abs"]) -> Improvement:
        """The form in which torch's and GreedyLR's arguments say it."""
        relative = threshold_mode == "rel"
        return cls(mode, threshold if relative else 0.0, 0.0 if relative else threshold)

    def better(self, metric: float, best: float | None) -> bool:
        """Is `metric` better than `best`, where None is nothing seen yet?"""
        if self.mode == "min":
            best = math.inf if best is None else best
            return metric < best * (1.0 - self.relative) - self.absolute
        best = -math.inf if best is None else best
        return metric > best * (1.0 + self.relative) + self.absolute


@dataclass(frozen=True, slots=True)
class TorchRule:
    """Cut after more than `patience` evaluations in a row without improvement.

    During the `cooldown` evaluations after a cut the best is kept up to date, nothing is counted.

    Source: torch.optim.lr_scheduler.ReduceLROnPlateau.
    """

    improvement: Better
    patience: int
    cooldown: int = 0

    def begin(self) -> Memory:
        """Nothing seen, nothing bad, not cooling down."""
        return {"best": None, "bad": 0, "cooldown": 0}

    def step(self, memory: Memory, metric: float, lr: float) -> tuple[Memory, str | None]:
        """One evaluation."""
        best, bad, cooldown = memory["best"], memory["bad"], memory["cooldown"]
        if self.improvement.better(metric, best):
            best, bad = metric, 0
        else:
            bad += 1
        if cooldown > 0:
            bad, cooldown = 0, cooldown - 1
        act = "cut" if bad > self.patience else None
        if act:
            bad, cooldown = 0, self.cooldown
        return {"best": best, "bad": bad, "cooldown": cooldown}, act


@dataclass(frozen=True, slots=True)
class KerasRule:
    """Cut at the `patience`-th evaluation in a row without improvement: one sooner than torch.

    The last evaluation of a cooldown counts already, where torch still skips it; the first metric
    is taken as the best whatever it is, nan too, and nothing is better than nan.

    Source: keras.callbacks.ReduceLROnPlateau.
    """

    improvement: Better
    patience: int
    cooldown: int = 0

    def begin(self) -> Memory:
        """Nothing seen, nothing bad, not cooling down."""
        return {"best": None, "bad": 0, "cooldown": 0}

    def step(self, memory: Memory, metric: float, lr: float) -> tuple[Memory, str | None]:
        """One evaluation."""
        best, bad, cooldown = memory["best"], memory["bad"], memory["cooldown"]
        if cooldown > 0:
            bad, cooldown = 0, cooldown - 1
        act = None
        if best is None or self.improvement.better(metric, best):
            best, bad = metric, 0
        elif cooldown == 0:
            bad += 1
            if bad >= self.patience:
                act, bad, cooldown = "cut", 0, self.cooldown
        return {"best": best, "bad": bad, "cooldown": cooldown}, act


@dataclass(frozen=True, slots=True)
class OptaxRule:
    """Cut when the count of evaluations without improvement equals `patience`.

    An evaluation is the mean of `accumulation` metrics. With patience 0 an improvement, too, cuts.

    Source: optax.contrib.reduce_on_plateau.
    """

    improvement: Better
    patience: int
    cooldown: int = 0
    accumulation: int = 1

    def begin(self) -> Memory:
        """Nothing seen, nothing bad, not cooling down."""
        return {"best": None, "bad": 0, "cooldown": 0, "seen": 0, "mean": 0.0}

    def step(self, memory: Memory, metric: float, lr: float) -> tuple[Memory, str | None]:
        """One metric; only every `accumulation`-th makes an evaluation."""
        seen = memory["seen"] + 1
        mean = (memory["seen"] * memory["mean"] + metric) / seen
        if seen < self.accumulation:
            return {**memory, "seen": seen, "mean": mean}, None
        best, bad, cooldown = memory["best"], memory["bad"], memory["cooldown"]
        if self.improvement.better(mean, best):
            best, bad = mean, 0
        else:
            bad += 1
        act = None
        if cooldown > 0:
            bad, cooldown = 0, cooldown - 1
        elif bad == self.patience:
            act, bad, cooldown = "cut", 0, self.cooldown
        return {"best": best, "bad": bad, "cooldown": cooldown, "seen": 0, "mean": 0.0}, act

"""How mmengine's schedulers work: each changes the LR that the one before it left, tick by tick.

A scheduler acts only while begin <= tick < end, and counts its own t from there; outside it leaves
the LR alone. Its `value` computes an LR from the group's, its base LR and t.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from lrrun.schedules.base import Array, BadArgument, Curve, PerStep, Span
from lrrun.schedules.dialects.recursion import Recursion

INF = 10**9
"""mmengine's default end: never."""


@dataclass(slots=True)
class Group:
    """The LRs that mmengine keeps in a param group: the current one and those that bound it."""

    lr: float
    initial: float | None = None
    highest: float = 0.0
    lowest: float = 0.0


@dataclass(slots=True)
class Scheduler:
    """One scheduler; `prepare` is what its constructor does to the group."""

    value: Callable[[Group, float, int], float]
    begin: int
    end: int
    per_step: bool
    prepare: Callable[[Group], None] | None = None
    base: float = 0.0
    ticks: int = field(default=-1)
    t: int = field(default=-1)

    def start(self, group: Group) -> None:
        """Construct it on the group: it takes its base LR and makes its first tick."""
        if self.prepare is not None:
            self.prepare(group)
        if group.initial is None:
            group.initial = group.lr
        self.base = group.initial
        self.tick(group)

    def tick(self, group: Group) -> None:
        """One step of its clock."""
        self.ticks += 1
        if self.begin <= self.ticks < self.end:
            self.t += 1
            group.lr = self.value(group, self.base, self.t)


class Chain:
    """The LR under schedulers that are stepped in order.

    With `epoch` given the clock is the optimizer step: schedulers that count epochs are stepped
    every `epoch` steps, after the others. Without, every scheduler is stepped at every tick.
    `after` changes the LR of a tick once all have been stepped.
    """

    def __init__(
        self,
        start: float,
        schedulers: Sequence[Scheduler],
        epoch: float | None = None,
        after: Callable[[int, float], float] | None = None,
    ) -> None:
        self.schedulers = schedulers
        self._start = start
        self._epoch = epoch
        self._after = after
        self.restart()

    def restart(self) -> None:
        """Forget every value: `after` has changed."""
        self._group = Group(self._start)
        self._running = [copy.copy(each) for each in self.schedulers]
        self._lrs = Recursion(self._next)

    def __call__(self, t: Array) -> Array:
        """The LR at every tick; raises ScheduleEnded where mmengine's arithmetic fails."""
        return self._lrs(t)

    def _next(self, t: int, lr: float) -> float:
        group = self._group
        for scheduler in self._running:
            if t == 0:
                scheduler.start(group)
        if t > 0:
            for scheduler in self._due(t):
                scheduler.tick(group)
        if self._after is not None:
            group.lr = self._after(t, group.lr)
        return group.lr

    def _due(self, t: int) -> list[Scheduler]:
        """The schedulers that are stepped before tick t, in order."""
        if self._epoch is None:
            return self._running
        due = [each for each in self._running if each.per_step]
        if t // self._epoch > (t - 1) // self._epoch:
            due += [each for each in self._running if not each.per_step]
        return due


@dataclass(frozen=True, slots=True)
class Timing:
    """`begin`, `end`, `by_epoch` and `convert_to_iter_based`, resolved; `times` scales lengths."""

    begin: int
    end: int
    per_step: bool
    times: int = 1

    @classmethod
    def read(cls, span: Span, begin: int, end: int, by_epoch: bool, convert: bool) -> Timing:
        """Check and resolve the four arguments; raises BadArgument."""
        if end <= begin:
            raise BadArgument("end", f"expected more than begin = {begin}, got {end}")
        if not convert:
            return cls(begin, end, not by_epoch)
        if not by_epoch:
            raise BadArgument("convert_to_iter_based", "expected by_epoch to be true, got false")
        times = span.units.steps_per_epoch
        if times is None:
            text = "the steps in an epoch are not known here; give --steps-per-epoch"
            raise BadArgument("convert_to_iter_based", text)
        return cls(begin * times, end if end == INF else end * times, True, times)

    @property
    def last(self) -> int:
        """What mmengine calls total_iters: the scheduler's last t."""
        return self.end - self.begin - 1

    def curve(
        self,
        span: Span,
        value: Callable[[Group, float, int], float],
        prepare: Callable[[Group], None] | None = None,
    ) -> Curve:
        """The curve of one scheduler alone."""
        scheduler = Scheduler(value, self.begin, self.end, self.per_step, prepare)
        chain = Chain(span.start, [scheduler])
        return PerStep(chain) if self.per_step else chain

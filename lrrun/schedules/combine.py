"""Schedules made of schedules: one after another, multiplied, the higher, the lower."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrrun.schedules.base import Array, Curve, Schedule, Span
from lrrun.schedules.catalogue import Section, register
from lrrun.schedules.spec import nested
from lrrun.units import Length


@register("sequence")
def sequence(span: Span, *, of: Section) -> Curve:
    """Parts one after another, as one part: `{name: sequence, of: [...], for: 50%}`.

    The same as its parts written into the list around it.
    """
    return nested(of, span)


@register("planned")
def planned(span: Span, *, of: Section, run: Length) -> Curve:
    """The curve that a schedule has in a run of another length, which is held past that run's end.

    Percents, `rest` and ends inside `of` are those of a run of `run` steps from this part's begin:
    `{name: planned, of: cosine, run: 690 steps}` is the cosine of 690 steps wherever it stands. So
    a longer run keeps a shorter run's plan, and a branch keeps its trunk's.
    """
    steps = span.resolve("run", run, at_least=1)
    return nested(of, replace(span, steps=steps, units=replace(span.units, total_steps=steps)))


@register("product")
def product(span: Span, *, of: list[Section]) -> Curve:
    """The product of schedules, each taken relative to the base LR.

    lr(s) = start · ∏ (lrₖ(s) / base), each lrₖ being what that schedule gives alone, from the base
    LR. A plateau among them multiplies what the others do.
    """
    alone = replace(span, before=None, written=None)

    def join(lrs: Array) -> Array:
        if span.base == 0:
            return np.zeros_like(lrs[0])
        factors: Array = np.prod(lrs / span.base, axis=0)
        return span.start * factors

    return Combined([nested(each, alone) for each in of], join)


@register("maximum")
def maximum(span: Span, *, of: list[Section]) -> Curve:
    """The highest of several schedules at every step: a floor is one of them constant.

    lr(s) = max lrₖ(s), each starting from where this part starts.
    """
    return Combined([nested(each, span) for each in of], lambda lrs: lrs.max(axis=0))


@register("minimum")
def minimum(span: Span, *, of: list[Section]) -> Curve:
    """The lowest of several schedules at every step: the transformer's min(rise, fall).

    lr(s) = min lrₖ(s), each starting from where this part starts.
    """
    return Combined([nested(each, span) for each in of], lambda lrs: lrs.min(axis=0))


@dataclass(frozen=True, slots=True)
class Combined:
    """Schedules that run side by side on one clock; a Feedback where any of them is one.

    `join` makes the LRs [k, n] of k schedules into one [n].
    """

    members: Sequence[Schedule]
    join: Callable[[Array], Array]

    def __call__(self, steps: Array) -> Array:
        """The LR at the part's own steps."""
        return self.join(np.stack([member(steps) for member in self.members]))

    def momentum(self, steps: NDArray[Any]) -> Array | None:
        """The momentum of the first schedule that drives it."""
        driven = (member.momentum(steps) for member in self.members)
        return next((values for values in driven if values is not None), None)

    def observe(self, step: int, metrics: Mapping[str, float]) -> bool:
        """Show every schedule the metrics; did any change?"""
        changes = [member.observe(step, metrics) for member in self.members]
        return any(changes)

    def state(self) -> dict[str, Any]:
        """What the schedules have learnt, by index."""
        states = {str(k): member.state() for k, member in enumerate(self.members)}
        return {k: state for k, state in states.items() if state}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state()` gave."""
        for k, member in enumerate(self.members):
            member.restore(state.get(str(k), {}))

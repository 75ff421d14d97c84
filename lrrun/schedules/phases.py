"""A published schedule as its paper tells it: phases, each with the length that was printed.

By share, the point x of the paper's total is the point x of the run; exactly, the paper's tokens
and steps are the run's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from lrrun.schedules.base import BadArgument, Curve, Part, Schedule, Span
from lrrun.units import Height, Length

TENTH = Height(0.1, relative=True)
"""Where most published cosines end."""

Ruler = Callable[[str, float], float]
"""(a length as it is printed, the part's step at which it begins) → steps, not yet rounded."""


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase: its curve, and where it ends.

    It ends at the point `until` of the training, or after it `lasts` so long, or with the run
    where neither is said. `planned` is the point at which its formula would have ended, where the
    paper cut it short.
    """

    curve: Callable[[Span], Curve]
    until: str = ""
    lasts: str = ""
    planned: str = ""


@dataclass(frozen=True, slots=True)
class Recipe:
    """The phases of a published run of `total` length, of `batch` tokens a step.

    `batch` is that of the steps that the paper counts in steps, 1 where it counts nothing else.
    `ramp` holds the batch sizes in tokens that were scheduled beside the LR, as (from, tokens):
    the batch grows from one to the next, or by jumps where the paper says so.
    """

    total: str
    batch: float
    phases: tuple[Phase, ...]
    ramp: tuple[tuple[str, int], ...] = ()

    def curve(self, span: Span, exact: bool) -> Curve:
        """The recipe over a part of a run; its first phase takes at least one step.

        Raises BadArgument where exact lengths are longer than the part, or are in tokens and the
        dataset has none.
        """
        measure = _exactly(span) if exact else self._by_share(span)
        parts: list[Part] = []
        at, begin = 0.0, 0
        for phase in self.phases:
            at = _end(phase, at, measure, span)
            if exact and at >= span.steps + 1:
                text = f"the paper's lengths take {at:,.0f} steps and there are {span.steps:,}; "
                fix = f"train for {self.total}, or leave exact out to scale them to the run"
                raise BadArgument("exact", text + fix)
            end = min(max(math.floor(at + 0.5), 0 if parts else 1), span.steps)
            if end > begin:
                length = round(measure(phase.planned, 0.0)) if phase.planned else end
                build = _over(phase.curve, length - begin)
                parts.append(Part("phase", build, begin, end - begin))
                begin = end
        return in_steps(parts, span)

    def _by_share(self, span: Span) -> Ruler:
        def tokens(written: str) -> float:
            length = Length.parse(written)
            return length.value * (self.batch if length.unit == "steps" else 1.0)

        return lambda written, _: tokens(written) / tokens(self.total) * span.steps


def in_steps(parts: list[Part], span: Span) -> Schedule:
    """Parts whose lengths are steps already, on a clock that begins at 0 with the part `span`."""
    within = replace(span, begin=0, units=replace(span.units, scale=1.0))
    return Schedule(parts, span.base, within.units, span.group, within)


def _end(phase: Phase, begin: float, measure: Ruler, span: Span) -> float:
    if phase.until:
        return measure(phase.until, 0.0)
    return begin + measure(phase.lasts, begin) if phase.lasts else max(float(span.steps), begin)


def _over(curve: Callable[[Span], Curve], steps: int) -> Callable[[Span], Curve]:
    return lambda span: curve(replace(span, steps=steps))


def _exactly(span: Span) -> Ruler:
    def measure(written: str, begin: float) -> float:
        try:
            return span.units.exact_steps(Length.parse(written), span.begin + round(begin))
        except ValueError as error:
            raise BadArgument("exact", str(error)) from None

    return measure

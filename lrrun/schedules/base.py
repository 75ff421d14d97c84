"""What a schedule is: a function of the optimizer step, made of parts that each count from 0.

A **curve** maps a part's own steps to learning rates. A **part** is a builder of a curve, placed
in the run. A **Schedule** is a sequence of parts for one param group; calling it gives the LR of
any step or array of steps, in float64. A part starts from the value that the part before it has at
its end, unless it says otherwise; past its end a schedule holds its last value.

Feedback is explicit: a curve that watches a metric also has `observe`, `state` and `restore`
(see `Feedback`). Everything else is stateless, so resuming needs the step and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, overload, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from lrrun.errors import Exit, LrrunError
from lrrun.units import Height, Length, Units

BLOCK = 8192
"""Steps that are evaluated at once."""

Array = NDArray[np.float64]
Curve = Callable[[Array], Array]
"""A part's LR as a function of the part's own steps: float64 array [n] → float64 array [n].

A curve that has a method `momentum(steps)` drives the momentum as well (see Driven).
"""


class BadArgument(ValueError):
    """An argument of a schedule is out of range; `name` says which."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


class ScheduleEnded(LrrunError, ValueError):
    """A schedule has no LR at the step asked for: there, the library that it comes from raises."""

    exit_code = Exit.BAD_CONFIG


@dataclass(frozen=True, slots=True)
class Span:
    """Where a part stands: all that a schedule's formula may use besides its own arguments.

    `base` is the param group's base LR; `steps` the part's length D; `begin` the run's step at
    which it starts. `before` is the LR that the part before ended on, None for a run's first part;
    `written` is the `start:` that the config gives this part. `group` is the param group's index
    of `groups` (None: unknown), for other libraries' arguments that are lists of one per group.
    """

    base: float
    steps: int
    begin: int
    units: Units
    before: float | None = None
    written: float | None = None
    group: int = 0
    groups: int | None = None

    @property
    def start(self) -> float:
        """The LR of the part's step 0: as written, else where the part before ended, else base."""
        if self.written is not None:
            return self.written
        return self.base if self.before is None else self.before

    def resolve(self, name: str, length: Length, at_least: int = 0) -> int:
        """An argument that is a length, in steps; a percent is of the whole run.

        Raises BadArgument, naming `name`, where the unit has no meaning here or the length is
        shorter than `at_least` steps.
        """
        try:
            steps = self.units.steps(length, self.begin)
        except ValueError as error:
            raise BadArgument(name, str(error)) from None
        if steps < at_least:
            shown = f"{length} = {steps} steps" if length.unit != "steps" else f"{length}"
            raise BadArgument(name, f"expected at least {at_least} step, got {shown}")
        return steps


@runtime_checkable
class Feedback(Protocol):
    """A curve that depends on metrics: a small state machine that remembers when it acted.

    The state is plain data (numbers, strings, lists), and the curve is a function of it: steps
    before an observation keep the value that they had.
    """

    def __call__(self, steps: Array) -> Array:
        """The LR at the part's own steps, given all that was observed."""
        ...

    def observe(self, step: int, metrics: Mapping[str, float]) -> bool:
        """Take the metrics of an evaluation after `step` updates of this part; did the LR change?

        Raises KeyError with the metric's name when it is not among `metrics`.
        """
        ...

    def state(self) -> dict[str, Any]:
        """Everything that was learnt from metrics, as plain data."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state()` gave."""
        ...


@dataclass(frozen=True, slots=True)
class Driven:
    """A curve that drives the momentum (or Adam's beta1) beside the LR."""

    lr: Curve
    momentum: Curve

    def __call__(self, steps: Array) -> Array:
        """The LR."""
        return self.lr(steps)


@dataclass(frozen=True, slots=True)
class PerStep:
    """A curve whose own arguments say that it counts updates, though its library counts epochs."""

    curve: Curve

    def __call__(self, steps: Array) -> Array:
        """The LR."""
        return self.curve(steps)


@dataclass(frozen=True, slots=True)
class Part:
    """A builder with its arguments bound, placed at `begin` for `steps` steps of the run."""

    name: str
    build: Callable[[Span], Curve]
    begin: int
    steps: int
    start: Height | None = None
    holds: bool = True
    """Past the run's end: hold the last value (True), or go on as the formula does (False)."""


class Schedule:
    """The LR of one param group as a function of the optimizer step.

    Built by `lrrun.schedules.schedule` from a config's scheduler section.

    >>> from lrrun.schedules import schedule
    >>> lr = schedule("linear", lr=0.1, steps=10)
    >>> lr(0), lr(5), lr(10)
    (0.1, 0.05, 0.0)
    >>> lr([0, 5])
    array([0.1 , 0.05])
    """

    def __init__(
        self,
        parts: Sequence[Part],
        base: float,
        units: Units,
        group: int = 0,
        within: Span | None = None,
    ) -> None:
        """`within` is the span that the parts share where they stand inside a part themselves."""
        if not parts:
            raise ValueError("a schedule needs at least one part")
        self.parts = tuple(parts)
        self.base = base
        self.units = units
        self._within = within or Span(base, units.total_steps, 0, units, group=group)
        self._begins = np.array([part.begin for part in self.parts[1:]], dtype=np.float64)
        self._curves: list[Curve] = []
        self._curve(len(self.parts) - 1)

    @overload
    def __call__(self, step: int) -> float: ...
    @overload
    def __call__(self, step: Sequence[int] | NDArray[Any]) -> Array: ...
    def __call__(self, step: int | Sequence[int] | NDArray[Any]) -> float | Array:
        """The LR of step `step` (from 0), or of an array of steps [n]: a float, or float64 [n].

        Raises ValueError for a step below 0.
        """
        values = self._evaluate(step, self._part_lr)
        return float(values) if values.ndim == 0 else values

    def momentum(self, steps: NDArray[Any]) -> Array | None:
        """The momentum (or beta1) of an array of steps [n], nan where a part leaves it alone.

        None where the schedule drives it at none of these steps.
        """
        driven = self._evaluate(steps, self._part_momentum)
        return None if np.isnan(driven).all() else driven

    def observe(self, step: int, metrics: Mapping[str, float]) -> bool:
        """Show the schedule an evaluation made after `step` updates; did any future LR change?

        Only the part that made the last update listens. Raises KeyError with the name of the
        metric that a plateau part watches and that is not in `metrics`.
        """
        index = int(np.searchsorted(self._begins, step - 1, side="right"))
        curve = self._curve(index)
        if not hasattr(curve, "observe"):  # of a Feedback; isinstance would look at all it has
            return False
        changed: bool = curve.observe(step - self.parts[index].begin, metrics)
        if changed:
            del self._curves[index + 1 :]
            self._curve(len(self.parts) - 1)
        return changed

    def state(self) -> dict[str, Any]:
        """What feedback parts have learnt, by part index; empty for a closed-form schedule."""
        states = {
            str(k): curve.state()
            for k, curve in enumerate(self._curves)
            if isinstance(curve, Feedback)
        }
        return {k: state for k, state in states.items() if state}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state()` gave."""
        del self._curves[:]
        for index in range(len(self.parts)):
            curve = self._curve(index)
            if isinstance(curve, Feedback) and str(index) in state:
                curve.restore(state[str(index)])

    def _curve(self, index: int) -> Curve:
        """The curve of part `index`; the parts before are built first: it starts at their end."""
        while len(self._curves) <= index:
            k = len(self._curves)
            part = self.parts[k]
            before = self._end(k - 1) if k else self._within.before
            written = part.start.of(self.base) if part.start else None
            if k == 0 and written is None:
                written = self._within.written
            begin = self._within.begin + part.begin
            stand = replace(self._within, steps=part.steps, begin=begin)
            self._curves.append(part.build(replace(stand, before=before, written=written)))
        return self._curves[index]

    def _end(self, index: int) -> float:
        steps = np.array([float(self.parts[index].steps)])
        return float(self._curves[index](steps)[0])

    def _part_lr(self, index: int, steps: Array) -> Array:
        return self._curves[index](steps)

    def _part_momentum(self, index: int, steps: Array) -> Array:
        momentum = getattr(self._curves[index], "momentum", None)
        values = momentum(steps) if momentum else None
        return np.full_like(steps, np.nan) if values is None else values

    def _evaluate(
        self, step: int | Sequence[int] | NDArray[Any], value: Callable[[int, Array], Array]
    ) -> Array:
        """The values of all steps, a block at a time: what a processor's cache holds goes fast.

        One step takes the same path through numpy as many, so they agree bit for bit.
        """
        given = np.asanyarray(step)
        kind = np.result_type(given.dtype, np.float64)  # steps may be symbols: see export
        flat = given.reshape(-1)
        values = np.empty(flat.size, kind)
        for begin in range(0, flat.size, BLOCK):
            block = flat[begin : begin + BLOCK].astype(kind)
            values[begin : begin + BLOCK] = self._block(block, value)
        return values.reshape(given.shape)

    def _block(self, steps: Array, value: Callable[[int, Array], Array]) -> Array:
        """Give every step to its part, in the part's own clock."""
        lowest, highest = steps.min(), steps.max()
        if lowest < 0:
            raise ValueError(f"expected steps from 0 on, got {lowest:g}")
        first, last = np.searchsorted(self._begins, [lowest, highest], side="right")
        if first == last:
            return value(int(first), self._local(int(first), steps))
        owner = np.searchsorted(self._begins, steps, side="right")
        values = np.empty_like(steps)
        for index in np.flatnonzero(np.bincount(owner)):  # np.unique would load numpy.ma
            mine = owner == index
            values[mine] = value(int(index), self._local(int(index), steps[mine]))
        return values

    def _local(self, index: int, steps: Array) -> Array:
        part = self.parts[index]
        local = steps - part.begin
        return np.minimum(local, part.steps) if part.holds else local

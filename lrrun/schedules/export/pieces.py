"""A schedule's values → the formulas that give them, each with the stretch of steps it holds for.

The schedule is called with a symbol in place of a step. What comes back is a formula and the
conditions under which it was computed; where those change, another step is tried. Every formula is
held against the schedule's own values at every step, and what it does not give is written down as
the values themselves, so that the pieces are exact whatever the curve is made of.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lrrun.errors import UsageError
from lrrun.schedules.base import Array, Schedule
from lrrun.schedules.export.symbols import Formula, Node, Symbol, Symbols, evaluate

MOST_PIECES = 10_000
"""More than this is no snippet any more, but a file of values."""

EXACT = 1e-13
"""How far a formula may be from the schedule's values, relative to them."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A formula and the steps that it holds for, rising; `first` is the first of them."""

    steps: Array
    formula: Formula

    @property
    def first(self) -> int:
        """The first step."""
        return int(self.steps[0])


def pieces(schedule: Schedule, values: Array) -> list[Piece]:
    """The formulas of a schedule for the steps 0 … len(values)-1, one stretch after another.

    `values` are what it gives there; `schedule` has not been called before. Raises UsageError where
    the values would need more than MOST_PIECES.
    """
    tracer = _Tracer(schedule, values)
    found = tracer.cover(np.arange(len(values), dtype=np.float64), 0)
    return [tracer.readable(piece) for piece in tracer.merged(found)]


class _Tracer:
    def __init__(self, schedule: Schedule, values: Array) -> None:
        self.schedule = schedule
        self.values = values
        self.count = 0

    def cover(self, steps: Array, known: int) -> list[Piece]:
        """Pieces for all of `steps`, which agree on the first `known` conditions."""
        path, formula = self._trace(int(steps[0]))
        return self._follow(steps, path, known, formula)

    def _follow(
        self, steps: Array, path: list[tuple[Node, bool]], known: int, formula: Formula | None
    ) -> list[Piece]:
        """Pieces for `steps`, the first of which took `path` to `formula`."""
        for k in range(known, len(path)):
            condition, outcome = path[k]
            same = evaluate(condition, steps) == outcome
            if same.all():
                continue
            ours, others = steps[same], steps[~same]
            if ours[-1] < others[0]:
                return self._follow(ours, path, k + 1, formula) + self.cover(others, k + 1)
            return self._alternating(steps, same, path, k, formula)
        if formula is not None and self._fits(formula, steps):
            return [self._counted(Piece(steps, formula))]
        return self._literal(steps)

    def _alternating(
        self,
        steps: Array,
        same: NDArray[np.bool_],
        path: list[tuple[Node, bool]],
        k: int,
        formula: Formula | None,
    ) -> list[Piece]:
        """A condition that comes and goes: one formula with a choice in it, else run by run."""
        condition, outcome = path[k]
        before = self.count
        ours = self.merged(self._follow(steps[same], path, k + 1, formula))
        others = self.merged(self.cover(steps[~same], k + 1))
        if len(ours) == len(others) == 1:
            yes, no = (ours[0], others[0]) if outcome else (others[0], ours[0])
            return [Piece(steps, Node("where", (condition, yes.formula, no.formula)))]
        self.count = before
        turns = np.flatnonzero(np.diff(same)) + 1
        self._check(len(turns))
        runs = np.split(steps, turns)
        return [piece for run in runs for piece in self.cover(run, k + 1)]

    def _literal(self, steps: Array) -> list[Piece]:
        """The values themselves, a piece for each stretch of equal ones."""
        values = self.values[steps.astype(np.int64)]
        turns = np.flatnonzero(np.diff(values)) + 1
        self._check(len(turns))
        runs = np.split(steps, turns)
        return [self._counted(Piece(run, float(self.values[int(run[0])]))) for run in runs]

    def readable(self, piece: Piece) -> Piece:
        """The piece with numbers as people write them, where that changes nothing."""
        shorter = _readable(piece.formula)
        return Piece(piece.steps, shorter) if self._fits(shorter, piece.steps) else piece

    def _counted(self, piece: Piece) -> Piece:
        self.count += 1
        self._check(0)
        return piece

    def _check(self, more: int) -> None:
        if self.count + more > MOST_PIECES:
            raise UsageError(
                "this schedule is no formula of the step, and its run has more than "
                f"{MOST_PIECES} different values: too long for a snippet; write them with --csv, "
                "or use lrrun.torch_scheduler"
            )

    def merged(self, found: list[Piece]) -> list[Piece]:
        """Neighbours joined where the formula of one gives the values of both."""
        merged: list[Piece] = []  # from the last to the first: a step that fits both is the later's
        for piece in reversed(found):
            while merged:
                after = merged[-1]
                if self._fits(after.formula, piece.steps):
                    formula = after.formula
                elif self._fits(piece.formula, after.steps):
                    formula = piece.formula
                else:
                    break
                piece = Piece(np.concatenate([piece.steps, merged.pop().steps]), formula)
            merged.append(piece)
        return merged[::-1]

    def _fits(self, formula: Formula, steps: Array) -> bool:
        truth = self.values[steps.astype(np.int64)]
        with np.errstate(all="ignore"):
            off = np.abs(evaluate(formula, steps) - truth)
        return bool((off <= EXACT * np.abs(truth)).all())

    def _trace(self, step: int) -> tuple[list[tuple[Node, bool]], Formula | None]:
        """(conditions, formula) at a step; no formula where the curve needs the number itself."""
        symbols = Symbols.of_step(step)
        try:
            value = self.schedule(symbols)[0]
        except Exception:  # whatever a curve does that only numbers can
            return symbols.path.conditions, None
        formula = value.formula if isinstance(value, Symbol) else float(value)
        return symbols.path.conditions, formula


def _readable(formula: Formula) -> Formula:
    """Numbers in the fifteen digits that every float has, and x - 5 in place of x + -5."""
    if isinstance(formula, float):
        return formula if formula == np.pi else float(f"{formula:.15g}")
    args = tuple(map(_readable, formula.args))
    if formula.op == "+" and isinstance(args[1], float) and args[1] < 0:
        return Node("-", (args[0], -args[1]))
    return Node(formula.op, args)

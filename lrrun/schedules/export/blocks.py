"""Pieces → blocks: what a person would write as one branch, or as one formula over a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from lrrun.schedules.export.pieces import Piece
from lrrun.schedules.export.symbols import STEP, Formula, Node

TABLE = 4
"""As many pieces in a row that differ in their numbers alone become a table."""


STARTS = -1.0
"""The column that holds the starts."""


@dataclass(frozen=True, slots=True)
class Table:
    """The numbers in which the pieces of a block differ: a row of `columns` for each of `starts`.

    The formula of the block has `Node("column", (k,))` in place of the numbers of column k, or
    STARTS for k where they are the starts.
    """

    starts: list[float]
    end: int
    """The first step after the last row."""
    columns: list[list[float]]
    of_starts: bool
    """Does the formula use the starts as numbers?"""

    @property
    def stride(self) -> int | None:
        """The steps from one start to the next, where they are all the same."""
        steps = {int(b - a) for a, b in zip(self.starts, self.starts[1:], strict=False)}
        return steps.pop() if len(steps) == 1 else None

    @property
    def runs_on(self) -> bool:
        """Is the last row longer than the stride?"""
        return self.stride is not None and self.end - self.starts[-1] > self.stride


@dataclass(frozen=True, slots=True)
class Block:
    """The LR of the steps from `first` up to the next block: a formula, over a table or not."""

    first: int
    formula: Formula
    table: Table | None = None


def blocks(pieces: Sequence[Piece]) -> list[Block]:
    """Join pieces of the same form, in order, where there are enough of them in a row."""
    joined: list[Block] = []
    for form, group in groupby(_paired(pieces), lambda piece: _form(piece.formula)):
        alike = list(group)
        if len(alike) < TABLE:
            joined += [Block(piece.first, piece.formula) for piece in alike]
        else:
            joined.append(_over_table(form, alike))
    return joined


def _paired(pieces: Sequence[Piece]) -> list[Piece]:
    """Two forms that take turns, a rise and a fall, become one with a choice in it."""
    forms = [_form(piece.formula) for piece in pieces]
    paired: list[Piece] = []
    k = 0
    while k < len(pieces):
        end = k + 2
        while end < len(pieces) and forms[end] == forms[end - 2]:
            end += 1
        turns = (end - k) // 2
        if turns < TABLE or forms[k] == forms[k + 1]:
            paired.append(pieces[k])
            k += 1
            continue
        paired += [_pair(pieces[j], pieces[j + 1]) for j in range(k, k + 2 * turns, 2)]
        k += 2 * turns
    return paired


def _pair(one: Piece, other: Piece) -> Piece:
    early = Node("<", (STEP, float(other.first)))
    steps = np.concatenate([one.steps, other.steps])
    return Piece(steps, Node("where", (early, one.formula, other.formula)))


def _over_table(form: Formula, alike: Sequence[Piece]) -> Block:
    """One formula for all: a number that all share stays, equal columns are one."""
    starts = [float(piece.first) for piece in alike]
    rows = [list(_numbers(piece.formula)) for piece in alike]
    columns: list[list[float]] = []
    numbers: list[Formula] = []
    for column in map(list, zip(*rows, strict=True)):
        if len(set(column)) == 1:
            numbers.append(column[0])
            continue
        if column == starts:
            numbers.append(Node("column", (STARTS,)))
            continue
        if column not in columns:
            columns.append(column)
        numbers.append(Node("column", (float(columns.index(column)),)))
    end = int(alike[-1].steps[-1]) + 1
    formula = _filled(form, iter(numbers))
    of_starts = Node("column", (STARTS,)) in numbers
    return Block(alike[0].first, formula, Table(starts, end, columns, of_starts))


def _form(formula: Formula) -> Formula:
    """The formula without its numbers: nan is never equal, so 0 stands for all."""
    if isinstance(formula, float):
        return 0.0
    return Node(formula.op, tuple(_form(each) for each in formula.args))


def _numbers(formula: Formula) -> Iterator[float]:
    if isinstance(formula, float):
        yield formula
        return
    for each in formula.args:
        yield from _numbers(each)


def _filled(form: Formula, numbers: Iterator[Formula]) -> Formula:
    if isinstance(form, float):
        return next(numbers)
    return Node(form.op, tuple(_filled(each, numbers) for each in form.args))

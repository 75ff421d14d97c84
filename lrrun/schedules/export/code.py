"""Formulas as source text: Python's operators, with each library's names for its functions."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np

from lrrun.schedules.export.symbols import STEP, Formula, Node

PRECEDENCE = {"+": 1, "-": 1, "*": 2, "/": 2, "//": 2, "%": 2, "**": 4}
COMPARISONS = ("<", "<=", ">", ">=", "==", "!=")
ATOM = 5
SHARES = ("x", "y", "z")
SHAPES = ("g", "h", "u", "v", "w")


@dataclass(frozen=True, slots=True)
class Language:
    """How a library writes what its operators cannot: its functions' prefix, and their names.

    `chosen` is its form of a choice between two values; `fused` writes a power of a constant as
    exp, which loses less in float32.
    """

    prefix: str
    names: dict[str, str]
    chosen: str
    fused: bool

    def function(self, op: str) -> str:
        """The function's name."""
        return self.names.get(op, self.prefix + op)


MATH = Language(
    "math.", {"abs": "abs", "rint": "round"}, "({yes} if {condition} else {no})", fused=False
)


def arrays(prefix: str, rint: str) -> Language:
    """A library whose functions are numpy's, in float32."""
    return Language(
        prefix, {"rint": prefix + rint}, prefix + "where({condition}, {yes}, {no})", fused=True
    )


def number(value: float) -> str:
    """A float as the shortest text that reads back as it; whole ones without their point.

    >>> number(100.0), number(0.1), number(1e-7)
    ('100', '0.1', '1e-07')
    """
    value = float(value)
    if value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return repr(value)


def shared(formulas: Sequence[Formula]) -> list[Node]:
    """What is computed more than once, in the order in which it must be computed."""
    uses: Counter[Node] = Counter()
    order: list[Node] = []

    def visit(formula: Formula) -> None:
        if not isinstance(formula, Node) or not _worth_a_name(formula):
            return
        uses[formula] += 1
        if uses[formula] == 1:
            for each in formula.args:
                visit(each)
            order.append(formula)

    for formula in formulas:
        visit(formula)
    return [node for node in order if uses[node] > 1]


def shared_by_branches(choice: Node) -> list[Node]:
    """What a choice computes more than once whichever branch it takes."""
    condition, yes, no = choice.args
    return [
        node
        for node in shared(choice.args)
        if _within(node, condition) or (_within(node, yes) and _within(node, no))
    ]


def _within(node: Node, formula: Formula) -> bool:
    if isinstance(formula, float):
        return False
    return node == formula or any(_within(node, each) for each in formula.args)


def _worth_a_name(node: Node) -> bool:
    """Neither the step nor a column, nor those moved by a number."""
    if node.op in ("step", "column"):
        return False
    simple = all(isinstance(e, float) or e.op in ("step", "column") for e in node.args)
    return not (node.op in ("+", "-") and simple)


class Writer:
    """Writes formulas in one language; `names` stand for the formulas that were given names."""

    def __init__(
        self,
        language: Language,
        columns: Sequence[str] = (),
        names: Mapping[Node, str] | None = None,
    ) -> None:
        self.language = language
        self.columns = columns
        self.names = dict(names or {})

    def name(self, node: Node) -> str:
        """Name a formula, x for a share of the way and g for what is made of it: `x = …`."""
        text = self.text(node)
        letters = SHARES if node.op == "/" else SHAPES
        names = (letter + (str(k) if k > 1 else "") for k in count(1) for letter in letters)
        self.names[node] = next(each for each in names if each not in self.names.values())
        return f"{self.names[node]} = {text}"

    def text(self, formula: Formula, least: int = 0) -> str:
        """The formula's text, in brackets where it binds less than `least`."""
        if isinstance(formula, float):
            return self._constant(formula, least)
        if formula in self.names:
            return self.names[formula]
        written, strength = self._node(formula)
        return f"({written})" if strength < least else written

    def _constant(self, value: float, least: int) -> str:
        if value == np.pi:
            return "math.pi"
        written = number(value)
        return f"({written})" if value < 0 and least > 2 else written

    def _node(self, node: Node) -> tuple[str, int]:
        op, args = node.op, node.args
        if node == STEP:
            return "step", ATOM
        if op == "column":
            return self.columns[int(args[0])], ATOM  # type: ignore[arg-type]
        if op == "where":
            condition, yes, no = map(self.text, args)
            return self.language.chosen.format(condition=condition, yes=yes, no=no), ATOM
        if op in COMPARISONS:
            return f"{self.text(args[0], 1)} {op} {self.text(args[1], 1)}", 0
        if op in PRECEDENCE:
            return self._operation(op, args[0], args[1])
        inside = ", ".join(map(self.text, args))
        return f"{self.language.function(op)}({inside})", ATOM

    def _operation(self, op: str, a: Formula, b: Formula) -> tuple[str, int]:
        strength = PRECEDENCE[op]
        if op == "**":
            if self.language.fused and isinstance(a, float) and a > 0:
                exponent, _ = self._operation("*", math.log(a), b)
                return f"{self.language.function('exp')}({exponent})", ATOM
            return f"{self.text(a, ATOM)} ** {self.text(b, 3)}", strength
        if op == "*" and a == -1.0:
            return f"-{self.text(b, 3)}", 3
        plain = op == "+" or (op == "*" and isinstance(b, Node) and b.op in ("*", "/"))
        right = self.text(b, strength if plain else strength + 1)
        whole = op in ("//", "%")  # in brackets beside * and /, where their order would matter
        return f"{self.text(a, strength)} {op} {right}", 1 if whole else strength

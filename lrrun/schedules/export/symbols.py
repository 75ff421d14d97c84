"""A step that is a symbol: curves are called with it, and what they compute is written down.

A **formula** is a number or a `Node` over the step. A `Symbol` carries a formula and its value at
one concrete step; arithmetic makes longer formulas, and a comparison is answered for the concrete
step and noted in the **path**: the conditions under which the formula is the right one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrrun.schedules.base import Array


@dataclass(frozen=True, slots=True)
class Node:
    """An operation on formulas; the step itself is `STEP`."""

    op: str
    args: tuple[Formula, ...] = ()


Formula = Node | float

STEP = Node("step")

APPLY: dict[str, Callable[..., Any]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "//": np.floor_divide,
    "%": np.mod,
    "**": np.power,
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
    "==": np.equal,
    "!=": np.not_equal,
    "abs": np.abs,
    "floor": np.floor,
    "ceil": np.ceil,
    "rint": np.rint,
    "sqrt": np.sqrt,
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "sin": np.sin,
    "cos": np.cos,
    "tanh": np.tanh,
    "where": np.where,
}
"""What the operations compute."""

MOST_CONDITIONS = 200
"""A curve that compares more often than this at one step is looping, and has no short formula."""


class Untraceable(Exception):
    """A curve asked for the step as a number."""


@dataclass(frozen=True, slots=True)
class Path:
    """The comparisons that were made on the way to a value, with their outcomes."""

    conditions: list[tuple[Node, bool]] = field(default_factory=list)

    def note(self, condition: Formula, outcome: bool) -> bool:
        """The outcome itself; a condition on the step is remembered."""
        if isinstance(condition, Node):
            self.conditions.append((condition, outcome))
            if len(self.conditions) > MOST_CONDITIONS:
                raise Untraceable
        return outcome


def make(op: str, *args: Formula) -> Formula:
    """The formula of an operation, in its simplest exact form.

    >>> make("+", make("-", STEP, 50.0), 1.0) == make("-", STEP, 49.0)
    True
    >>> make("*", 0.0, STEP)
    0.0
    """
    if not any(isinstance(each, Node) for each in args):
        with np.errstate(all="ignore"):
            return float(APPLY[op](*args))
    if len(args) != 2:
        return _floor_division(op, args[0]) or Node(op, args)
    a, b = args
    if op == "-" and isinstance(b, float):
        op, b = "+", -b
    if (op, b) in (("+", 0.0), ("*", 1.0), ("/", 1.0), ("**", 1.0)):
        return a
    if (op, a) in (("+", 0.0), ("*", 1.0)):
        return b
    if (op == "*" and 0.0 in args) or (op == "/" and a == 0.0):
        return 0.0
    if op == "**" and (a == 1.0 or b == 0.0):
        return 1.0
    return _moved(op, a, b) or _remainder(op, a, b) or Node(op, (a, b))


def _moved(op: str, a: Formula, b: Formula) -> Formula | None:
    """(x + c) + b as x + (c + b), for whole numbers, where it changes no bit."""
    if op != "+" or not isinstance(b, float) or not isinstance(a, Node) or a.op != "+":
        return None
    inner, offset = a.args
    if not isinstance(offset, float) or not (offset.is_integer() and b.is_integer()):
        return None
    return make("+", inner, offset + b)


def _remainder(op: str, a: Formula, b: Formula) -> Formula | None:
    """What is left of whole steps: a - a // n · n as a % n."""
    if op != "-" or not isinstance(b, Node) or b.op != "*" or not isinstance(b.args[0], Node):
        return None
    quotient, n = b.args
    same = quotient == Node("//", (a, n))
    return Node("%", (a, n)) if same and isinstance(n, float) and _whole(n) else None


def _floor_division(op: str, ratio: Formula) -> Formula | None:
    """floor(a / n) as a // n, which is the same for whole numbers."""
    if op != "floor" or not isinstance(ratio, Node) or ratio.op != "/":
        return None
    a, n = ratio.args
    return Node("//", (a, n)) if isinstance(n, float) and _whole(a) and _whole(n) else None


def _whole(formula: Formula) -> bool:
    if isinstance(formula, float):
        return formula.is_integer()
    if formula.op in ("+", "-", "*"):
        return all(map(_whole, formula.args))
    return formula.op in ("step", "//", "floor", "ceil", "rint")


def counted_down(formula: Formula) -> Formula:
    """What is left, 1 - a / n, as (n - a) / n for whole numbers: 0 at the end in float32 too.

    Compilers take a / n for a · (1/n), which is not 1 where a is n, and a root of that shows.
    """
    if isinstance(formula, float):
        return formula
    op, args = formula.op, tuple(map(counted_down, formula.args))
    if op == "-" and args[0] == 1.0 and isinstance(args[1], Node) and args[1].op == "/":
        a, n = args[1].args
        if isinstance(n, float) and isinstance(a, Node) and _whole(n) and _whole(a):
            if a.op == "-" and isinstance(a.args[1], float):
                return Node("/", (Node("-", (n + a.args[1], a.args[0])), n))
            return Node("/", (Node("-", (n, a)), n))
    return Node(op, args)


def evaluate(formula: Formula, steps: Array) -> Any:
    """The formula's values at all of `steps`: float64, or bool for a condition."""
    known: dict[Node, Any] = {STEP: steps}

    def value(each: Formula) -> Any:
        if isinstance(each, float):
            return each
        if each not in known:
            known[each] = APPLY[each.op](*map(value, each.args))
        return known[each]

    with np.errstate(all="ignore"):
        return np.broadcast_to(value(formula), steps.shape)


class Symbol:
    """A formula, its value at one step, and the path that it shares with all others."""

    __slots__ = ("formula", "path", "value")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, formula: Formula, value: float, path: Path) -> None:
        self.formula = formula
        self.value = value
        self.path = path

    def apply(self, op: str, *args: Symbol) -> Symbol:
        """The operation on symbols."""
        formula = make(op, *(each.formula for each in args))
        with np.errstate(all="ignore"):
            value = float(APPLY[op](*(np.float64(each.value) for each in args)))
        return Symbol(formula, value, self.path)

    def compare(self, op: str, other: Any) -> bool:
        """The answer for the concrete step, noted in the path."""
        that = as_symbol(other, self.path)
        outcome = bool(APPLY[op](self.value, that.value))
        if not isinstance(self.formula, Node) and not isinstance(that.formula, Node):
            return outcome
        return self.path.note(Node(op, (self.formula, that.formula)), outcome)

    def __neg__(self) -> Symbol:
        return self.apply("*", as_symbol(-1.0, self.path), self)

    def __float__(self) -> float:
        raise Untraceable

    def __int__(self) -> int:
        raise Untraceable

    def __bool__(self) -> bool:
        return self.compare("!=", 0.0)


def as_symbol(value: Any, path: Path) -> Symbol:
    """A symbol as it is; a number as the symbol of a constant."""
    return value if isinstance(value, Symbol) else Symbol(float(value), float(value), path)


def _binary(op: str) -> tuple[Callable[..., Symbol], Callable[..., Symbol]]:
    def forward(self: Symbol, other: Any) -> Symbol:
        return self.apply(op, self, as_symbol(other, self.path))

    def backward(self: Symbol, other: Any) -> Symbol:
        return self.apply(op, as_symbol(other, self.path), self)

    return forward, backward


def _equip() -> None:
    """Give Symbol its operators, and the methods that numpy calls for its functions."""
    operators = {"+": "add", "-": "sub", "*": "mul", "/": "truediv", "//": "floordiv"}
    for op, name in {**operators, "%": "mod", "**": "pow"}.items():
        forward, backward = _binary(op)
        setattr(Symbol, f"__{name}__", forward)
        setattr(Symbol, f"__r{name}__", backward)
    comparisons = {"<": "lt", "<=": "le", ">": "gt", ">=": "ge", "==": "eq", "!=": "ne"}
    for op, name in comparisons.items():
        setattr(Symbol, f"__{name}__", lambda self, other, op=op: self.compare(op, other))
    for op in ("rint", "sqrt", "exp", "expm1", "log", "log1p", "sin", "cos", "tanh"):
        setattr(Symbol, op, lambda self, op=op: self.apply(op, self))
    for op in ("abs", "floor", "ceil"):
        setattr(Symbol, f"__{op}__", lambda self, op=op: self.apply(op, self))


_equip()


class Symbols(np.ndarray):
    """An array of symbols, float64 to a curve's eyes: constants that meet it become symbols too."""

    path: Path

    @classmethod
    def of_step(cls, step: int) -> Symbols:
        """The array [1] that stands for one step."""
        path = Path()
        return _of([Symbol(STEP, float(step), path)], path)

    def __array_finalize__(self, parent: NDArray[Any] | None) -> None:
        self.path = getattr(parent, "path", None) or Path()

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        kwargs.pop("out", None)
        result = getattr(ufunc, method)(*map(self._lifted, inputs), **kwargs)
        if isinstance(result, np.ndarray) and result.dtype == object:
            return _of(result, self.path)
        return result

    def _lifted(self, given: Any) -> NDArray[Any]:
        plain = np.array(given, dtype=object)
        for index, each in np.ndenumerate(plain):
            plain[index] = as_symbol(each, self.path)
        return plain


def _of(values: Any, path: Path) -> Symbols:
    array = np.array(values, dtype=object).view(Symbols)
    array.path = path
    return array

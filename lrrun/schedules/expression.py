"""Functions in a config's arguments: arithmetic expressions, parsed here and never `eval`ed.

Other libraries take functions (`lr_lambda`, `scale_fn`); a config is data, so it writes the
expression that the function returns. Evaluation is simpleeval's; what may stand in an expression
is decided here, before anything is evaluated.
"""

from __future__ import annotations

import ast
import math
import operator
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from lrrun.registry import is_import_path, nearest
from lrrun.schedules.base import ScheduleEnded

MAX_LENGTH = 1000
"""Characters in an expression."""

_UNBOUNDED = ("comb", "factorial", "perm")  # a few digits of argument, hours of work
_MATH = {
    name: value
    for name, value in vars(math).items()
    if not name.startswith("_") and name not in _UNBOUNDED
}
_FUNCTIONS = {
    each.__name__: each for each in (abs, all, any, bool, float, int, len, max, min, round, sum)
}


def _number(value: Any) -> Any:
    if not isinstance(value, (int, float)):
        raise TypeError(f"expected a number, got {value!r}")
    return value


_OPERATORS: dict[type[ast.AST], Any] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: lambda a, b: _number(a) * _number(b),  # a list times a billion fills the memory
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: lambda a, b: float(a) ** b,  # floats end in an overflow where integers would grow
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Not: operator.not_,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}
_ALLOWED = (
    *_OPERATORS,
    *(ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.And, ast.Or, ast.Compare, ast.IfExp, ast.Call),
    *(ast.Name, ast.Load, ast.Store, ast.Constant, ast.Attribute, ast.Tuple, ast.List),
    *(ast.Subscript, ast.ListComp, ast.GeneratorExp, ast.comprehension),
)


Function = Callable[..., float]
"""What an expression means: numbers in, a number out."""


@dataclass(frozen=True)
class Expression:
    """A function of one or several numbers, as its text says; call it with their values."""

    text: str
    variables: tuple[str, ...]
    _tree: ast.expr = field(repr=False, compare=False)
    _evaluator: Any = field(repr=False, compare=False)

    def __call__(self, *values: float) -> float:
        """The expression's value; raises ScheduleEnded where it has none (a division by 0)."""
        numbers = [int(v) if float(v).is_integer() else float(v) for v in values]
        self._evaluator.names = {
            "math": SimpleNamespace(**_MATH),
            **dict(zip(self.variables, numbers, strict=True)),
        }
        try:
            value = self._evaluator.eval(self.text, previously_parsed=self._tree)
            return float(value)
        except Exception as error:  # whatever the arithmetic of the text can raise
            at = ", ".join(f"{k} = {v:g}" for k, v in zip(self.variables, numbers, strict=True))
            raise ScheduleEnded(f"{self.text!r} has no value at {at}: {error}") from None


def expression(written: object, *variables: str) -> Function:
    """A function of `variables` from a text, a pasted `lambda`, or a mapping {expr, var}.

    A function itself, which config/ imports where that was allowed, is taken as it is. In a text:
    arithmetic, comparisons, `a if c else b`, tuples, comprehensions over them, `math` and min, max,
    abs, round, int, float, sum, len, any, all. A function of one number may call it anything.
    Raises ValueError with what was expected, what was got and what to write.

    >>> expression("0.5 ** (epoch // 10)", "epoch")(25)
    0.25
    >>> expression("lambda t: min(1, (t + 1) / 4)", "epoch")(0)
    0.25
    >>> expression("__import__('os')", "epoch")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    ValueError: expected an arithmetic expression of epoch, got "__import__('os')": ...
    """
    if callable(written):
        return written
    text, variables = _text(written, variables)
    tree, variables = _parse(text, variables)
    for node in ast.walk(tree):
        reason = _refusal(node)
        if reason:
            raise _wrong(text, variables, reason)
    unknown = sorted(_free(tree) - set(variables))
    if len(variables) == 1 and variables[0] not in _free(tree) and len(unknown) == 1:
        variables, unknown = (unknown[0],), []
    if unknown:
        names = " and ".join(variables)
        raise _wrong(text, variables, f"{unknown[0]} is not known; its value depends on {names}")
    return Expression(text, variables, tree, _evaluator())


def _text(written: object, variables: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    if isinstance(written, Mapping) and set(written) <= {"expr", "var"} and "expr" in written:
        named = str(written.get("var", ", ".join(variables)))
        names = tuple(name.strip() for name in named.split(","))
        if len(names) != len(variables):
            raise ValueError(f"expected var: {', '.join(variables)}, got var: {named}")
        written, variables = written["expr"], names
    if isinstance(written, (int, float)) and not isinstance(written, bool):
        written = repr(written)
    if not isinstance(written, str):
        raise _wrong(written, variables, "write it as a text, such as '0.95 ** epoch'")
    if len(written) > MAX_LENGTH:
        raise ValueError(
            f"expected an expression of at most {MAX_LENGTH} characters, got {len(written)}"
        )
    return written.strip(), variables


def _parse(text: str, variables: tuple[str, ...]) -> tuple[ast.expr, tuple[str, ...]]:
    try:
        with warnings.catch_warnings():  # Python's remarks on odd spelling are not ours to make
            warnings.simplefilter("ignore")
            tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise _wrong(text, variables, str(error)) from None
    if isinstance(tree, ast.Lambda):
        names = tuple(each.arg for each in tree.args.args)
        if len(names) != len(variables):
            raise _wrong(text, variables, f"it takes {len(names)} arguments")
        return tree.body, names
    return tree, variables


def _refusal(node: ast.AST) -> str | None:
    """Why a node may not stand in an expression; None where it may."""
    if not isinstance(node, _ALLOWED):
        return f"{type(node).__name__} is not arithmetic"
    if isinstance(node, ast.Constant) and not isinstance(node.value, (int, float)):
        return f"{node.value!r} is not a number"
    if isinstance(node, ast.Attribute):
        if not (isinstance(node.value, ast.Name) and node.value.id == "math"):
            return "a dot is allowed after math only"
        if node.attr not in _MATH:
            return _unknown(f"math.{node.attr}", [f"math.{name}" for name in _MATH])
    if isinstance(node, ast.Call) and not isinstance(node.func, ast.Attribute):
        if not isinstance(node.func, ast.Name):
            return "only functions of math and the built-in ones can be called"
        if node.func.id not in _FUNCTIONS:
            known = [*_FUNCTIONS, *(f"math.{name}" for name in _MATH)]
            return _unknown(node.func.id, known)
    return None


def _free(tree: ast.expr) -> set[str]:
    """Names that need a value."""
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    bound = {node.id for node in names if isinstance(node.ctx, ast.Store)}
    return {node.id for node in names} - bound - set(_FUNCTIONS) - {"math"}


def _evaluator() -> Any:
    from simpleeval import EvalWithCompoundTypes

    evaluator = EvalWithCompoundTypes(operators=_OPERATORS, functions=_FUNCTIONS, names={})
    evaluator.functions = _FUNCTIONS  # without the list, set and dict that it adds
    return evaluator


def _unknown(name: str, known: list[str]) -> str:
    match = nearest(name, known)
    return f"{name} is not known" + (f"; did you mean {match}?" if match else "")


def _wrong(written: object, variables: tuple[str, ...], reason: str) -> ValueError:
    names = " and ".join(variables)
    if isinstance(written, str) and is_import_path(written):
        reason = "a function by its import path stands in a config, and needs --allow-code"
    return ValueError(f"expected an arithmetic expression of {names}, got {written!r}: {reason}")

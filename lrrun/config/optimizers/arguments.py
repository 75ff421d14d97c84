"""What kinds of values the arguments of an optimizer take, in words and as reading functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Kind:
    """What an argument takes: in words, as a JSON schema, and as a reading function."""

    expected: str
    schema: Mapping[str, Any]
    parse: Callable[[object], object]
    """The value for torch; raises ValueError where the written value is of another kind."""

    def read(self, written: object) -> object:
        """The value as torch takes it; raises ValueError with what was expected and what was got.

        >>> BETAS.read([0.9, 0.95])
        (0.9, 0.95)
        >>> SHARE.read(9)
        Traceback (most recent call last):
        ...
        ValueError: expected a number of at least 0 and less than 1, got 9
        """
        try:
            return self.parse(written)
        except ValueError:
            shown = "null" if written is None else repr(written)
            raise ValueError(f"expected {self.expected}, got {shown}") from None


def _number(words: str, allowed: Callable[[float], bool]) -> Kind:
    def parse(written: object) -> float:
        if isinstance(written, bool) or not isinstance(written, (int, float)):
            raise ValueError
        if not math.isfinite(written) or not allowed(written):
            raise ValueError
        return float(written)

    return Kind(words, {"type": "number"}, parse)


def _whole(words: str, low: int, high: int) -> Kind:
    def parse(written: object) -> int:
        if isinstance(written, bool) or not isinstance(written, int) or not low <= written <= high:
            raise ValueError
        return written

    return Kind(words, {"type": "integer", "minimum": low, "maximum": high}, parse)


def _choice(words: str, *values: bool | str | None) -> Kind:
    def parse(written: object) -> object:
        if not any(type(written) is type(each) and written == each for each in values):
            raise ValueError
        return written

    return Kind(words, {"enum": list(values)}, parse)


def _list_of(words: str, *kinds: Kind, allowed: Callable[..., bool] = lambda *values: True) -> Kind:
    def parse(written: object) -> tuple[object, ...]:
        if not isinstance(written, (list, tuple)) or len(written) != len(kinds):
            raise ValueError
        values = tuple(kind.parse(each) for kind, each in zip(kinds, written, strict=True))
        if not allowed(*values):
            raise ValueError
        return values

    items = {"type": "array", "minItems": len(kinds), "maxItems": len(kinds)}
    return Kind(words, items, parse)


def _or_null(kind: Kind) -> Kind:
    def parse(written: object) -> object:
        return None if written is None else kind.parse(written)

    return Kind(f"{kind.expected}, or null", {"anyOf": [kind.schema, {"type": "null"}]}, parse)


NUMBER = _number("a finite number", lambda value: True)
NOT_NEGATIVE = _number("a number of at least 0", lambda value: value >= 0)
NOT_POSITIVE = _number("a number of at most 0", lambda value: value <= 0)
POSITIVE = _number("a number above 0", lambda value: value > 0)
AT_LEAST_1 = _number("a number of at least 1", lambda value: value >= 1)
SHARE = _number("a number of at least 0 and less than 1", lambda value: 0 <= value < 1)
SWITCH = _choice("true or false", True, False)
AUTO_SWITCH = _choice("true, false or null (torch's choice)", True, False, None)
ALWAYS_OFF = _choice("false, as a training loop does not differentiate through updates", False)
BETAS = _list_of("two numbers of at least 0 and less than 1, such as [0.9, 0.999]", SHARE, SHARE)
ETAS = _list_of(
    "two factors, one between 0 and 1 and one above 1, such as [0.5, 1.2]",
    POSITIVE,
    POSITIVE,
    allowed=lambda shrink, grow: shrink < 1 < grow,
)
STEP_SIZES = _list_of(
    "the least and the largest step, such as [1e-6, 50]",
    POSITIVE,
    POSITIVE,
    allowed=lambda least, most: least <= most,
)
TWO_EPS = _list_of(
    "two numbers of at least 0, such as [null, 0.001]", _or_null(NOT_NEGATIVE), NOT_NEGATIVE
)
COEFFICIENTS = _list_of("three numbers, such as [3.4445, -4.775, 2.0315]", NUMBER, NUMBER, NUMBER)
ITERATIONS = _whole("a whole number from 1 to 99", 1, 99)
ADJUSTMENT = _choice("original, match_rms_adamw or null", "original", "match_rms_adamw", None)

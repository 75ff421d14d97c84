"""The numbers between two ends, as an axis of a sweep has them: `1e-4..1:log:13`."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from lrrun.config.yaml_text import parse_value
from lrrun.registry import nearest

Spacing = Literal["log", "lin", "whole"]

MAX_VALUES = 10_000
"""Of one axis."""

_DIGITS = {"log": 4, "lin": 12}
"""Significant digits that the inner values of a range are rounded to, so that people can read them;
the ends are what was written."""

_FORM = "expected a range such as 1e-4..1:log:13, 0.1..0.9:lin:5 or 0..4"


@dataclass(frozen=True, slots=True)
class Span:
    """The numbers from `low` to `high`; `count` of them make a grid, None where none was given."""

    low: float
    high: float
    spacing: Spacing
    count: int | None
    percent: bool = False

    def values(self) -> tuple[Any, ...]:
        """The grid's values; raises ValueError where the span does not say how many there are."""
        if self.spacing == "whole":
            return tuple(range(int(self.low), int(self.high) + 1))
        if self.count is None:
            raise ValueError(
                f"{self}: how many values? write {self}:13, or draw from it with --random or --tpe"
            )
        space = np.geomspace if self.spacing == "log" else np.linspace
        exact = [float(each) for each in space(self.low, self.high, self.count)]
        digits = _DIGITS[self.spacing]
        near = [self.low, *(float(f"{each:.{digits}g}") for each in exact[1:-1]), self.high]
        chosen = near[: self.count] if len(set(near)) == len(near) else exact
        return self._written(chosen)

    def at(self, share: float) -> Any:
        """The value at `share` (in [0, 1)) of the way, in the span's own spacing."""
        if self.spacing == "whole":
            return int(self.low) + math.floor(share * (self.high - self.low + 1))
        if self.spacing == "log":
            value = math.exp(math.log(self.low) + share * math.log(self.high / self.low))
        else:
            value = self.low + share * (self.high - self.low)
        return self._written([float(f"{value:.6g}")])[0]

    def _written(self, values: list[float]) -> tuple[Any, ...]:
        """Percents as texts; whole numbers where all of a grid's values are whole."""
        if self.percent:
            return tuple(f"{each:g}%" for each in values)
        whole = isinstance(self.low, int) and isinstance(self.high, int)
        if whole and self.count and all(float(each).is_integer() for each in values):
            return tuple(int(each) for each in values)
        return tuple(float(each) for each in values)

    def __str__(self) -> str:
        sign = "%" if self.percent else ""
        text = f"{self.low!r}{sign}..{self.high!r}{sign}"
        if self.spacing != "whole":
            text += f":{self.spacing}"
        return text + (f":{self.count}" if self.count is not None else "")


def parse_span(text: str) -> Span:
    """Read `a..b`, `a..b:n`, `a..b:log`, `a..b:log:n`; raises ValueError.

    >>> parse_span("1e-3..1:log:4").values()
    (0.001, 0.01, 0.1, 1.0)
    >>> parse_span("3..1")
    Traceback (most recent call last):
    ...
    ValueError: 3..1: an empty range, 3 is more than 1; write 1..3
    """
    ends, *rest = text.replace(" ", "").split(":")
    low_text, _, high_text = ends.partition("..")
    if high_text.startswith("."):
        end = high_text.lstrip(".")
        raise ValueError(f"{text}: three dots; write {low_text}..{end} or {low_text}..0.{end}")
    percent = low_text.endswith("%")
    if percent != high_text.endswith("%"):
        raise ValueError(f"{text}: one end in percent; write both so, such as 1%..8%:log:4")
    low, high = (_number(each, text, percent) for each in (low_text, high_text))
    spacing, count = _spacing_and_count(rest, text, low, high, percent)
    if low > high:
        swapped = ":".join([f"{high_text}..{low_text}", *rest])
        raise ValueError(f"{text}: an empty range, {low:g} is more than {high:g}; write {swapped}")
    if spacing == "log" and low <= 0:
        if low < 0:
            raise ValueError(f"{text}: a log range begins above 0, and {low:g} has no logarithm")
        fit = f"0,{high / 10**4:.1g}..{high_text}:log" + (f":{count}" if count else "")
        raise ValueError(f"{text}: a log range begins above 0, and 0 has no logarithm; write {fit}")
    if low == high:
        raise ValueError(f"{text}: a range of one value; write {low_text}")
    if spacing == "whole" and high - low >= MAX_VALUES:
        raise ValueError(f"{text}: {high - low + 1:,.0f} values; at most {MAX_VALUES:,}")
    return Span(low, high, spacing, count, percent)


def _spacing_and_count(
    rest: list[str], text: str, low: float, high: float, percent: bool
) -> tuple[Spacing, int | None]:
    if not rest:
        if not (isinstance(low, int) and isinstance(high, int)) or percent:
            raise ValueError(
                f"{text}: how many values? write {text}:lin:5, {text}:log:5, or whole numbers"
            )
        return "whole", None
    spacing = rest[0] if rest[0].isalpha() else "lin"
    counts = rest[1:] if rest[0].isalpha() else rest
    if spacing not in _DIGITS or len(counts) > 1:
        match = nearest(spacing, _DIGITS)
        hint = f"; did you mean {match}?" if match and match != spacing else ""
        raise ValueError(f"{text}: {_FORM}{hint}")
    return spacing, _count(counts[0], text) if counts else None  # type: ignore[return-value]


def _count(written: str, text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", written):
        raise ValueError(f"{text}: expected a whole number of values, got {written!r}")
    count = int(written)
    if not 2 <= count <= MAX_VALUES:
        got = "an empty range, 0 values" if count == 0 else f"{count:,} values"
        raise ValueError(f"{text}: {got}; expected 2 to {MAX_VALUES:,}")
    return count


def _number(written: str, text: str, percent: bool) -> float:
    value = parse_value(written.removesuffix("%")) if written else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{text}: {written!r} is not a number; {_FORM}")
    if not math.isfinite(value):
        raise ValueError(f"{text}: {written} is not finite")
    return value

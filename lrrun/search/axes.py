"""Axes of a sweep: a config key and the values it takes, in one small grammar.

    optimizer.lr=1e-4..1:log:13      13 values, evenly spaced in log
    dataset.batch_size=32..128:lin:4 or 32..128:4, evenly spaced
    seed=0..4                        the whole numbers 0, 1, 2, 3, 4
    scheduler.warmup=1%..8%:log:4    both ends in percent
    scheduler=cosine,wsd             values, each as YAML reads it; a range may be one of them
    scheduler=[cosine, {name: wsd, cooldown: 20%}]

A value that is a list itself stands in a list: `model.hidden=[[64], [128, 128]]`.
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from lrrun.config.overrides import parse_override
from lrrun.config.yaml_text import parse_value
from lrrun.errors import ConfigError, KeyPath, Problem
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


@dataclass(frozen=True, slots=True)
class Axis:
    """A config key and what it takes: values and spans, in the order written."""

    key: str
    path: KeyPath
    items: tuple[Any, ...]

    def values(self) -> tuple[Any, ...]:
        """Every value of the grid; raises ConfigError where a span does not say how many."""
        found: list[Any] = []
        try:
            for item in self.items:
                found += item.values() if isinstance(item, Span) else [item]
        except ValueError as error:
            raise ConfigError([Problem(self.path, str(error))]) from None
        return tuple(found)

    @property
    def span(self) -> Span | None:
        """The span to draw from, where the axis is nothing else."""
        only = self.items[0] if len(self.items) == 1 else None
        return only if isinstance(only, Span) else None

    def as_data(self) -> Any:
        """Plain data for sweep.yaml, which `read_axis` takes back."""
        items = [str(item) if isinstance(item, Span) else item for item in self.items]
        return items[0] if self.span else items


def parse_axis(text: str) -> Axis:
    """Read `key=values`; raises ConfigError, at the key, with what was expected and got.

    >>> parse_axis("optimizer.lr=1e-3..1:log:4").values()
    (0.001, 0.01, 0.1, 1.0)
    >>> parse_axis("scheduler=cosine,{name: wsd, cooldown: 20%}").values()
    ('cosine', {'name': 'wsd', 'cooldown': '20%'})
    >>> parse_axis("seed=0..2").values()
    (0, 1, 2)
    """
    key, _, written = text.partition("=")
    where = f"command line: {text}"
    try:
        path, _ = parse_override(f"{key}=0" if "=" in text else text)
        if not written.strip():
            raise ConfigError([Problem(path, "no values; write key=value,value or key=a..b:log:n")])
        listed = written.strip().startswith("[")
        return read_axis(key.strip(), parse_value(written if listed else f"[{written}]"))
    except ConfigError as error:
        raise ConfigError(
            Problem(p.path, p.message, p.where or where) for p in error.problems
        ) from None


def read_axis(key: str, written: Any) -> Axis:
    """An axis from plain data: a list of values and ranges, or one of them; raises ConfigError."""
    path, _ = parse_override(f"{key}=0")
    listed = written if isinstance(written, list) else [written]
    try:
        if not listed:
            raise ValueError("an empty list; give it at least one value")
        items = tuple(_item(each) for each in listed)
        counted = [each for item in items for each in _counted(item)]
        _refuse_repeats(counted)
    except ValueError as error:
        raise ConfigError([Problem(path, str(error))]) from None
    return Axis(key, path, items)


def _counted(item: Any) -> tuple[Any, ...]:
    drawn = isinstance(item, Span) and item.spacing != "whole" and item.count is None
    return () if drawn else item.values() if isinstance(item, Span) else (item,)


def _refuse_repeats(values: Iterable[Any]) -> None:
    seen = set()
    for value in values:
        text = written(float(value) if type(value) is int else value)
        if text in seen:
            raise ValueError(f"{written(value)} stands twice")
        seen.add(text)


def _item(value: Any) -> Any:
    """A value, or the span that a text stands for."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"expected finite numbers, got {value}")
    if not isinstance(value, str) or ".." not in value or re.search(r"[/\\]", value):
        return value
    return parse_span(value)


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
    percent = low_text.endswith("%") or high_text.endswith("%")
    low, high = (_number(each, text, percent) for each in (low_text, high_text))
    spacing, count = _spacing_and_count(rest, text, low, high, percent)
    if low > high:
        swapped = f"{high_text}..{low_text}"
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


def written(value: Any) -> str:
    """A value as `key=value` takes it back, and as a cell of trials.csv has it.

    >>> written("cosine"), written(1e-05), written({"name": "wsd", "cooldown": "20%"}), written("1")
    ('cosine', '1e-05', '{"name": "wsd", "cooldown": "20%"}', '"1"')
    """
    if isinstance(value, str):
        return value if _reads_as_itself(value) else json.dumps(value)
    return json.dumps(value)


@functools.lru_cache(maxsize=1024)
def _reads_as_itself(text: str) -> bool:
    try:
        return bool(parse_value(text) == text)
    except ConfigError:
        return False


def overrides(values: Mapping[str, Any]) -> list[str]:
    """The `key=value` texts that set a trial's values; a section before the keys inside it.

    >>> overrides({"optimizer.lr": 0.1, "optimizer": {"name": "sgd", "lr": 1}})[-1]
    'optimizer.lr=0.1'
    """

    def above(item: tuple[str, Any]) -> int:
        return sum(item[0].startswith(f"{other}.") for other in values)

    inner_last = sorted(values.items(), key=above)
    return [f"{key}={written(value)}" for key, value in inner_last]

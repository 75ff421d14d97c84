"""Axes of a sweep: a config key and the values it takes, in one small grammar.

    optimizer.lr=1e-4..1:log:13      13 values, evenly spaced in log
    dataset.batch_size=32..128:lin:4 or 32..128:4, evenly spaced
    seed=0..4                        the whole numbers 0, 1, 2, 3, 4
    scheduler.warmup=1%..8%:log:4    both ends in percent
    scheduler=cosine,wsd             values, each as YAML reads it; a range may be one of them
    scheduler=[cosine, {name: wsd, cooldown: 20%}]

    model.hidden=[64],[128,128]      lists; in a list, `[[64], [128, 128]]`

One list alone is the list of values: a value that is a list itself stands in a list.
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lrrun.config.overrides import parse_override
from lrrun.config.yaml_text import parse_value
from lrrun.errors import ConfigError, KeyPath, Problem
from lrrun.search.spans import Span, parse_span

_WRITE = "write key=value,value or key=a..b:log:n, and texts that hold , : # [ ] or { } in quotes"
_EMPTY = re.compile(r"^\s*,|,\s*,")
_END = r"\s*([-+.0-9eE%]+?)\s*"
_SPACING_FIRST = re.compile(
    rf"\s*(log|lin|uniform)\w*\s*[:(]{_END}(?:,|:|\.\.){_END}(?:[,:]\s*([0-9]+)\s*)?\)?\s*"
)


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
        return read_axis(key.strip(), _parse_values(path, written))
    except ConfigError as error:
        raise ConfigError(
            Problem(p.path, p.message, p.where or where) for p in error.problems
        ) from None


def _parse_values(path: KeyPath, text: str) -> Any:
    """The values of a list, or of a list without its brackets; raises ConfigError at `path`."""
    if not text.strip():
        raise ConfigError([Problem(path, f"no values; {_WRITE}")])
    _refuse_spacing_first(path, text)
    bare = f"[{text}]"  # also `[64],[128]`, where the values are lists
    for reading in (text, bare) if text.strip().startswith("[") else (bare,):
        try:
            return _parsed(path, reading)
        except ConfigError as error:
            if any(each.path != path for each in error.problems):  # a key's fault, not the syntax's
                raise
    if _EMPTY.search(text):
        raise ConfigError([Problem(path, f"expected a value beside every comma; {_WRITE}")])
    _parsed(path, text)  # raises what is wrong with it, our brackets aside
    raise ConfigError([Problem(path, f"expected values with commas between them; {_WRITE}")])


def _refuse_spacing_first(path: KeyPath, text: str) -> None:
    """Other tools write `log:1e-3,1` or `loguniform(1e-3, 1)` for a range; name our form."""
    found = _SPACING_FIRST.fullmatch(text)
    if found is not None:
        name, low, high, count = found.groups()
        form = f"{low}..{high}:{'log' if name == 'log' else 'lin'}:{count or 7}"
        raise ConfigError([Problem(path, f"a range has its ends first; write {form}")])


def _parsed(path: KeyPath, text: str) -> Any:
    try:
        return parse_value(text)
    except ConfigError as error:
        raise ConfigError(
            Problem((*path, *each.path[1:]), each.message) for each in error.problems
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
    if isinstance(value, dict) and any(".." in key for key in value):
        value = f"{next(iter(value))}:"  # what ends in a colon, YAML reads as a mapping
    if not isinstance(value, str) or ".." not in value or re.search(r"[/\\]", value):
        return value
    return parse_span(value)


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

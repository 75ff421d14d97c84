"""JSON as the standard has it: what Python calls NaN and infinity becomes null."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any


def dumps(value: object) -> str:
    """Write plain data, dataclasses and numpy numbers or arrays as indented ASCII JSON.

    >>> print(dumps({"val_loss": float("nan"), "lr": (0.1, 0.01)}))
    {
      "val_loss": null,
      "lr": [
        0.1,
        0.01
      ]
    }
    """
    return json.dumps(_plain(value), indent=2, allow_nan=False)


def lines(values: Iterable[object]) -> Iterator[str]:
    """A JSON array line by line, a value a line, as they come: for arrays of any length.

    >>> list(lines([{"lr": 0.1}, {"lr": float("inf")}]))
    ['[', '{"lr": 0.1},', '{"lr": null}', ']']
    """
    yield "["
    before = None
    for value in values:
        if before is not None:
            yield f"{before},"
        before = _compact(value)
    yield from [] if before is None else [before]
    yield "]"


def object_lines(values: Mapping[str, object]) -> Iterator[str]:
    """A JSON object line by line, an entry a line, and in its lists an element a line.

    For objects of any size: to indent all of one costs three times what writing it does.

    >>> list(object_lines({"metric": "loss", "runs": [{"lr": 0.1}, {"lr": 0.2}]}))
    ['{', '"metric": "loss",', '"runs": [', '{"lr": 0.1},', '{"lr": 0.2}', ']', '}']
    """
    yield "{"
    before = None
    for key, value in values.items():
        if before is not None:
            yield f"{before},"
        several = lines(value) if isinstance(value, list) else iter([_compact(value)])
        before = f"{_compact(key)}: {next(several)}"
        for line in several:
            yield before
            before = line
    yield from [] if before is None else [before]
    yield "}"


def _compact(value: object) -> str:
    return json.dumps(_plain(value), allow_nan=False)


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):  # numpy's numbers and arrays, without importing numpy
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(each) for each in value]
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    return str(value)

"""Config values as people say them: a component is its name, then what it was given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lrrun.render.terminal import printable
from lrrun.units import Units


def describe(value: Any) -> str:
    """One line for a config value.

    >>> describe({"name": "cosine", "warmup": "5%", "final": 0.001})
    'cosine, warmup 5%, final 0.001'
    >>> describe([{"name": "step", "for": "10 epochs"}, {"name": "cosine", "for": "rest"}])
    'step, for 10 epochs > cosine, for rest'
    >>> describe([128, 128]), describe(None), describe(True), describe(1e-5), describe({})
    ('[128, 128]', 'none', 'true', '1e-05', '-')
    """
    if isinstance(value, Mapping):
        named = [describe(value["name"])] if "name" in value else []
        rest = [f"{printable(str(k))} {_inner(v)}" for k, v in value.items() if k != "name"]
        return ", ".join(named + rest) or "-"
    if _is_list(value) and any(isinstance(each, Mapping) for each in value):
        return " > ".join(describe(each) for each in value)
    return _inner(value)


def said_values(value: Any) -> Any:
    """A section without the keys that say nothing: none, and empty lists.

    >>> said_values({"epochs": 30, "ema": None, "groups": []})
    {'epochs': 30}
    """
    if not isinstance(value, Mapping):
        return value
    return {key: each for key, each in value.items() if each is not None and each != []}


def _inner(value: Any) -> str:
    if isinstance(value, Mapping):
        return "(" + describe(value) + ")"
    if _is_list(value):
        return "[" + ", ".join(_inner(each) for each in value) + "]"
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    return printable(str(value))


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def run_length(units: Units) -> str:
    """How long a run is, in updates and in epochs.

    >>> run_length(Units(690, steps_per_epoch=23))
    '690 steps (30 epochs)'
    """
    if units.rows_before is not None and units.samples_per_epoch:
        epochs = float(units.rows_before[-1]) / units.samples_per_epoch
    else:
        epochs = units.total_steps / (units.steps_per_epoch or units.total_steps)
    return f"{units.total_steps:,} steps ({epochs:.4g} epoch{'' if epochs == 1 else 's'})"

"""Where the parts of a schedule stand: lengths → the first step and the steps of every part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lrrun.errors import ConfigError, KeyPath, Problem
from lrrun.schedules.base import Span
from lrrun.schedules.catalogue import Clock, Entry
from lrrun.units import Height, Length, Units

REST = Length(0.0, "rest")


@dataclass(frozen=True, slots=True)
class PartSpec:
    """A part as the config writes it: a schedule, its arguments read, its length not yet steps."""

    entry: Entry
    path: KeyPath
    arguments: dict[str, Any] = field(default_factory=dict)
    length: Length | None = None
    until: Length | None = None
    start: Height | None = None
    interval: Clock | None = None


def place(parts: Sequence[PartSpec], span: Span) -> list[tuple[int, int]]:
    """(begin, steps) of every part; raises ConfigError with both numbers where they do not fit."""
    total, units = span.steps, span.units
    room = f"the run has {total}" if total == units.total_steps else f"there is room for {total}"
    rests = [k for k, part in enumerate(parts) if _is_rest(parts, k)]
    if len(rests) > 1:
        text = "a second part that takes the rest of the run; give all parts but one a length"
        raise ConfigError([Problem(parts[rests[1]].path, text)])
    after = _after(parts[rests[0] + 1 :], span) if rests else 0
    placed: list[tuple[int, int]] = []
    begin = 0
    for k, part in enumerate(parts):
        if k in rests:
            steps = total - after - begin
            if steps <= 0 and total > 0:
                needed = f"the other parts take {begin + after} steps, {room}"
                raise ConfigError([Problem(_blame(parts, k), f"no step is left: {needed}")])
        elif part.until is not None:
            steps = _steps(part, "until", part.until, units) - span.begin - begin
            if steps < 0:
                first = span.begin + begin
                text = f"ends at step {first + steps}, before it begins at step {first}"
                raise ConfigError([Problem((*part.path, "until"), text)])
        else:
            steps = _fixed(part, units, span.begin + begin)
        begin += steps
        placed.append((begin - steps, steps))
    if begin > total:
        raise ConfigError([Problem(parts[-1].path, f"the parts take {begin} steps, {room}")])
    return placed


def _after(parts: Sequence[PartSpec], span: Span) -> int:
    """Steps of the parts behind the one that takes the rest, measured from the end of the span."""
    end, taken = span.begin + span.steps, 0
    for part in reversed(parts):
        guess = _fixed(part, span.units, max(0, end - taken - 1))
        taken += _fixed(part, span.units, max(0, end - taken - guess))
    return taken


def _is_rest(parts: Sequence[PartSpec], k: int) -> bool:
    part = parts[k]
    unsaid = part.length is None and part.until is None and k == len(parts) - 1
    return unsaid or (part.length is not None and part.length.unit == "rest")


def _blame(parts: Sequence[PartSpec], rest: int) -> KeyPath:
    """The key that left no room: the warmup or cooldown around the part, else the part itself."""
    around = [part.path for k, part in enumerate(parts) if k != rest]
    return around[0] if around else parts[rest].path


def _fixed(part: PartSpec, units: Units, begin: int) -> int:
    if part.until is not None:
        text = "a part behind the one that takes the rest needs `for`, not `until`"
        raise ConfigError([Problem((*part.path, "until"), text)])
    if part.length is None:
        text = "its length is missing: write for: 500 steps, for: 10%, until: 60%, or for: rest"
        raise ConfigError([Problem(part.path, text)])
    return _steps(part, "for", part.length, units, begin)


def _steps(part: PartSpec, key: str, length: Length, units: Units, begin: int = 0) -> int:
    try:
        return units.steps(length, begin)
    except ValueError as error:
        raise ConfigError([Problem((*part.path, key), str(error))]) from None

"""A config's scheduler section → placed parts → a Schedule.

A section is a name, a mapping, or a list of mappings. Any mapping may carry `warmup:` (in front)
and `cooldown:` (behind), and the mapping's own part gets the steps that they leave. In a list each
part says how long it is: `for: 500 steps`, `until: 60%`, or `for: rest`; the last may leave it out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from lrrun.errors import ConfigError, KeyPath, Problem
from lrrun.registry import unknown, unknown_argument
from lrrun.schedules.base import BadArgument, Curve, Driven, Feedback, Part, PerStep, Schedule, Span
from lrrun.schedules.catalogue import (
    Clock,
    Entry,
    Parameter,
    Section,
    find,
    neighbours,
    with_prefix,
)
from lrrun.schedules.elsewhere import DROPPED, meant, named_otherwise
from lrrun.schedules.placement import REST, PartSpec, place
from lrrun.units import Height, Length, Units

ENVELOPE = ("name", "for", "until", "start", "warmup", "cooldown")
"""Keys that any part may carry beside its schedule's own parameters."""


class _Reader:
    """Reads one section, gathering every problem instead of stopping at the first."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def section(self, written: object, path: KeyPath) -> list[PartSpec]:
        if isinstance(written, (list, tuple)):
            if not written:
                self.refuse(path, "expected at least one part, got an empty list")
            return [
                part
                for index, each in enumerate(written)
                for part in self.mapping(each, (*path, index))
            ]
        return self.mapping(written, path)

    def mapping(self, written: object, path: KeyPath) -> list[PartSpec]:
        """One mapping: its own part, with its warmup before and its cooldown behind."""
        if isinstance(written, str):
            written = {"name": written}
        if not isinstance(written, Mapping):
            got = "a function: {name: lambda, factor: module:function} takes one"
            got = got if callable(written) else repr(written)
            self.refuse(path, f"expected a schedule's name or a mapping, got {got}")
            return []
        entry = self.entry(written, path)
        if entry is None:
            return []
        own = set(entry.parameters)
        envelope = {key: written[key] for key in ENVELOPE if key in written and key not in own}
        body = PartSpec(
            entry,
            path,
            self.arguments(entry, written, path),
            self.read(Length.parse, envelope, "for", path),
            self.read(Length.parse, envelope, "until", path),
            self.read(Height.parse, envelope, "start", path),
            self.read(_read_interval, written, "interval", path) if entry.clock else None,
        )
        if body.length is not None and body.until is not None:
            self.refuse(path, "a part has one length: give `for` or `until`, not both")
        warmup = self.attached("warmup", "warmup", envelope, path)
        cooldown = self.attached("cooldown", "cooldown", envelope, path)
        if warmup is None and cooldown is None:
            return [body]
        return self.envelope(body, warmup, cooldown)

    def envelope(
        self, body: PartSpec, warmup: PartSpec | None, cooldown: PartSpec | None
    ) -> list[PartSpec]:
        """A body between its warmup and its cooldown; `start` is where the whole begins."""
        if body.length is not None or body.until is not None:
            at = body.path
            self.refuse(at, "in a list, write the warmup and the cooldown as parts of their own")
        if warmup is not None and body.start is not None:
            warmup, body = replace(warmup, start=body.start), replace(body, start=None)
        body = replace(body, length=REST)
        return [part for part in (warmup, body, cooldown) if part is not None]

    def attached(
        self, name: str, key: str, envelope: Mapping[str, object], path: KeyPath
    ) -> PartSpec | None:
        """The part that `warmup:` or `cooldown:` asks for: a length, or a mapping with `for`."""
        if key not in envelope:
            return None
        written = envelope[key]
        here = (*path, key)
        if not isinstance(written, Mapping):
            written = {"for": written}
        if "for" not in written:
            self.refuse(here, "its length is missing: write for: 500 steps, or 5%")
            return None
        parts = self.mapping({"name": name, **written}, here)
        return parts[0] if parts else None

    def entry(self, written: Mapping[str, Any], path: KeyPath) -> Entry | None:
        name = written.get("name", "constant" if "warmup" in written else None)
        if not isinstance(name, str):
            got = "nothing" if name is None else repr(name)
            other = named_otherwise(written) if name is None else None
            self.refuse((*path, "name"), other or f"expected a schedule's name, got {got}")
            return None
        entry = find(name)
        if entry is None:
            full = with_prefix(name)
            text = meant(full) or unknown("scheduler", full, neighbours(name))
            self.refuse((*path, "name"), text)
        return entry

    def arguments(self, entry: Entry, written: Mapping[str, Any], path: KeyPath) -> dict[str, Any]:
        arguments = {}
        for key, value in written.items():
            if key in entry.parameters:
                arguments[key] = self.argument(entry.parameters[key], value, (*path, key))
            elif key not in ENVELOPE and not (key == "interval" and entry.clock):
                accepted = [*entry.parameters, *(each for each in ENVELOPE if each != "name")]
                text = DROPPED.get(str(key)) or unknown_argument(key, accepted)
                self.refuse((*path, str(key)), f"{entry.name}: {text}")
        for parameter in entry.parameters.values():
            if parameter.required and parameter.name not in written:
                self.refuse(path, f"{parameter.name} is missing: {entry.name} needs it")
        return arguments

    def argument(self, parameter: Parameter, written: object, path: KeyPath) -> Any:
        if parameter.kind is Section:
            return Section(self.section(written, path))
        if parameter.kind == list[Section]:
            if not isinstance(written, (list, tuple)) or not written:
                self.refuse(path, f"expected a list of schedules, got {written!r}")
                return []
            return [Section(self.section(each, (*path, k))) for k, each in enumerate(written)]
        try:
            return parameter.read(written)
        except ValueError as error:
            self.refuse(path, str(error))
            return None

    def read(
        self,
        parse: Callable[[object], Any],
        written: Mapping[str, object],
        key: str,
        path: KeyPath,
    ) -> Any:
        if key not in written:
            return None
        try:
            return parse(written[key])
        except ValueError as error:
            self.refuse((*path, key), str(error))
            return None

    def refuse(self, path: KeyPath, message: str) -> None:
        self.problems.append(Problem(path, message))


def parse(written: object, path: KeyPath = ("scheduler",)) -> tuple[PartSpec, ...]:
    """Read a scheduler section; raises ConfigError with every problem found."""
    reader = _Reader()
    parts = reader.section(written, path)
    if reader.problems:
        raise ConfigError(reader.problems)
    return tuple(parts)


def build(
    parts: Sequence[PartSpec],
    base_lr: float,
    units: Units,
    group: int = 0,
    groups: int | None = None,
) -> Schedule:
    """Place the parts in the run and bind them to a param group's base LR.

    `units` holds the horizon; `group` is the param group's index, `groups` their number where it is
    known. Raises ConfigError when the parts do not fit the run, or an argument makes no sense in
    it.
    """
    return nested(parts, Span(base_lr, units.total_steps, 0, units, group=group, groups=groups))


def nested(parts: Sequence[PartSpec], span: Span) -> Schedule:
    """The parts of a section that stands inside a part: they share its span and its clock.

    Percents are of the run and `until` is a step of the run, as everywhere; `rest` is what the
    other parts leave of the span. Raises ConfigError as `build` does.
    """
    placed = []
    for spec, (begin, steps) in zip(parts, place(parts, span), strict=True):
        if steps > 0:
            build = partial(_build_part, spec)
            placed.append(Part(spec.entry.name, build, begin, steps, spec.start, spec.entry.holds))
    if not placed:
        text = f"expected at least 1 step of training, got {span.steps} for the whole schedule"
        raise ConfigError([Problem(parts[0].path, text)])
    return Schedule(placed, span.base, span.units, span.group, span)


def _build_part(spec: PartSpec, span: Span) -> Curve:
    try:
        curve = spec.entry.build(span, **spec.arguments)
    except BadArgument as error:
        raise ConfigError([Problem((*spec.path, error.name), str(error))]) from None
    if isinstance(curve, PerStep):
        return _in_steps(curve.curve, _steps_per_tick("step", spec, span))
    clock = spec.interval or spec.entry.clock
    if clock is None or isinstance(curve, Feedback):
        return curve  # ours count steps, and lengths know the scale; feedback counts evaluations
    return _in_steps(curve, _steps_per_tick(clock, spec, span))


def _in_steps(curve: Curve, length: float) -> Curve:
    """A curve of another clock, `length` steps a tick, as a curve of steps."""
    if length == 1:
        return curve
    if isinstance(curve, Driven):
        return Driven(_in_steps(curve.lr, length), _in_steps(curve.momentum, length))
    return lambda s: curve(np.floor(s / length))


def _steps_per_tick(clock: Clock, spec: PartSpec, span: Span) -> float:
    """How many steps of this run one tick of another library's clock takes."""
    if clock == "step":
        return span.units.scale
    if span.units.steps_per_epoch is None:
        text = (
            f"{spec.entry.name} counts epochs, and the steps in an epoch are not known here; "
            "give --steps-per-epoch, or interval: step"
        )
        raise ConfigError([Problem(spec.path, text)])
    return span.units.steps_per_epoch * span.units.scale


def _read_interval(written: object) -> Clock:
    if written == "step":
        return "step"
    if written == "epoch":
        return "epoch"
    raise ValueError(f"expected step or epoch, got {written!r}")


def schedule(
    spec: object,
    *,
    lr: float,
    steps: int,
    steps_per_epoch: int | None = None,
    tokens_per_epoch: int | None = None,
    samples_per_epoch: int | None = None,
    **arguments: object,
) -> Schedule:
    """The schedule of a spec (a name, a mapping or a list), for a run of `steps` updates.

    `lr` is the base LR; further keyword arguments are the schedule's own. Raises ConfigError.

    >>> warm = schedule("cosine", lr=1.0, steps=100, warmup="10%", final="1%")
    >>> warm(10), warm(100)
    (1.0, 0.01)
    """
    if arguments and not isinstance(spec, (str, Mapping)):
        raise TypeError("keyword arguments belong to a schedule given by name or as a mapping")
    if isinstance(spec, str):
        spec = {"name": spec, **arguments}
    elif isinstance(spec, Mapping):
        spec = {**spec, **arguments}
    units = Units(steps, steps_per_epoch, samples_per_epoch, tokens_per_epoch)
    return build(parse(spec, path=()), lr, units)


def brought_lr(parts: Sequence[PartSpec]) -> tuple[KeyPath, float | None] | None:
    """Where a schedule brings its own LR (max_lr, optax, keras), and which; None where none does.

    The value is None where the schedule brings several, such as a list of values.
    """
    for part in parts:
        key = part.entry.own_lr
        if key is not None:
            value = part.arguments.get(key)
            number = float(value) if isinstance(value, (int, float)) else None
            return (*part.path, key), number
    return None

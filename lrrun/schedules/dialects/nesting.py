"""Schedules of a library inside the arguments of another schedule of that library."""

from __future__ import annotations

from lrrun.errors import ConfigError, Problem
from lrrun.schedules.base import BadArgument, Curve, Span
from lrrun.schedules.catalogue import Section
from lrrun.schedules.placement import PartSpec


def inner(section: Section, library: str) -> PartSpec:
    """The one schedule of `library` that an argument holds.

    Raises ConfigError for a list of parts, for another library's schedule, and for lengths, which
    a library's own composition gives in its own arguments.
    """
    part: PartSpec = section[0]
    if len(section) > 1 or part.length or part.until or part.start or part.interval:
        ours = "for, until, start, interval, warmup or cooldown"
        text = f"expected one schedule of {library}, without {ours}"
        raise ConfigError([Problem(part.path, text)])
    if not part.entry.name.startswith(f"{library}."):
        text = f"expected a schedule of {library}, got {part.entry.name}"
        fix = "; to join schedules of different libraries, write the scheduler as a list of parts"
        raise ConfigError([Problem(part.path, text + fix)])
    return part


def built(part: PartSpec, span: Span) -> Curve:
    """The curve of an inner schedule, in its own clock; raises ConfigError at its own path."""
    try:
        return part.entry.build(span, **part.arguments)
    except BadArgument as error:
        raise ConfigError([Problem((*part.path, error.name), str(error))]) from None

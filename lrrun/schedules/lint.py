"""Lint: what is wrong with a schedule, told by the LRs that it gives, not by its name.

Every finding says what was computed and what to write instead. What a config asks for by name (a
constant, restarts) is not told back to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from lrrun.errors import KeyPath
from lrrun.schedules import asked, flaws
from lrrun.schedules.base import Array, Schedule, ScheduleEnded, Span
from lrrun.schedules.flaws import Finding, Placed, Seen
from lrrun.schedules.placement import PartSpec, place
from lrrun.units import Length, Units

__all__ = ["IMPORTANCE", "Finding", "lint"]

IMPORTANCE = (
    "no-lr",
    "not-finite",
    "negative-lr",
    "zero-lr",
    "stuck",
    "climbs-back",
    "jump",
    "ends-early",
    "ends-high",
    "never-decays",
    "vanished",
    "patience",
    "short-cooldown",
    "short-warmup",
)
"""The codes of all findings, the worst first."""


def lint(
    schedules: Schedule | Mapping[str, Schedule],
    parts: Sequence[PartSpec],
    units: Units,
    *,
    beta2: float | None = None,
    evaluations: int | None = None,
) -> list[Finding]:
    """Everything that is probably not meant in the schedules of a run, the worst first.

    `schedules` are freshly built ones (no metric observed), by param group's name where there are
    several; `parts` the section that they were built from. `beta2` is Adam's, None for other
    optimizers; `evaluations` how often the run looks at its metrics. A group whose base LR is 0 is
    frozen on purpose and is left out.

    >>> from lrrun.schedules import build, parse
    >>> parts, units = parse({"name": "CosineAnnealingLR", "T_max": 20}), Units(30, 1)
    >>> [each.code for each in lint(build(parts, 0.1, units), parts, units)]
    ['zero-lr', 'climbs-back']
    """
    groups = {"": schedules} if isinstance(schedules, Schedule) else schedules
    groups = {name: each for name, each in groups.items() if each.base != 0}
    found: dict[tuple[str, KeyPath], dict[str, Finding]] = {}
    for name, schedule in groups.items():
        findings = [*_of_lengths(parts, units, evaluations), *_of_curve(schedule, parts, beta2)]
        for finding in findings:
            found.setdefault((finding.code, finding.path), {}).setdefault(name, finding)
    told = []
    for by_group in found.values():
        name, finding = next(iter(by_group.items()))
        if len(by_group) < len(groups):
            text = f"param group {', '.join(by_group)}: {finding.message}"
            finding = replace(finding, message=text)
        told.append(finding)
    return sorted(told, key=lambda finding: IMPORTANCE.index(finding.code))


def _of_curve(
    schedule: Schedule, parts: Sequence[PartSpec], beta2: float | None
) -> Iterator[Finding]:
    """What the LRs of one param group tell."""
    units = schedule.units
    try:
        lr = schedule(np.arange(units.total_steps))
    except ScheduleEnded as error:
        step = _first_without(schedule, units.total_steps)
        text = f"there is no LR at step {step} of {units.total_steps}: {error}"
        fix = "; the schedule must last as long as the run"
        yield Finding("no-lr", text + fix, parts[-1].path)
        return
    seen = _see(schedule, parts, lr)
    if not np.isfinite(lr).all():
        step = int(np.argmin(np.isfinite(lr)))
        text = f"the LR of step {step} is {lr[step]}; check the arguments"
        yield Finding("not-finite", text, seen.at(step).spec.path)
        return
    if lr.min() < 0:
        step, steps = int(lr.argmin()), int((lr < 0).sum())
        text = f"the LR is below 0 at {steps} steps, {lr[step]:.4g} at step {step}: it climbs the "
        fix = "loss there; a list of parts, or our own product, keeps to what is above 0"
        yield Finding("negative-lr", text + fix, seen.at(step).spec.path)
    yield from flaws.zero(seen)
    if lr.max() <= 0:
        return
    climbs = [*flaws.stuck(seen), *flaws.climbs_back(seen)]
    yield from climbs
    yield from flaws.jumps(seen)
    yield from flaws.ends_early(seen)
    yield from flaws.end(seen, parts, explained=bool(climbs))
    if not climbs:
        yield from flaws.short_cooldown(seen)
    if beta2 is not None:
        yield from flaws.short_warmup(seen, beta2)


def _see(schedule: Schedule, parts: Sequence[PartSpec], lr: Array) -> Seen:
    units = schedule.units
    where = place(parts, Span(schedule.base, len(lr), 0, units))
    stand = [
        Placed(spec, begin, lr[begin : begin + steps])
        for spec, (begin, steps) in zip(parts, where, strict=True)
        if steps > 0
    ]
    stand[-1] = replace(stand[-1], lr=lr[stand[-1].begin :])  # it holds up to the run's end
    return Seen(lr, float(lr.max()), stand, schedule.base, units)


def _first_without(schedule: Schedule, steps: int) -> int:
    """The first step at which a schedule that ends has no LR, by halving."""
    good, bad = -1, steps - 1
    while bad - good > 1:
        middle = (good + bad) // 2
        try:
            schedule(middle)
        except ScheduleEnded:
            bad = middle
        else:
            good = middle
    return bad


def _of_lengths(
    parts: Sequence[PartSpec], units: Units, evaluations: int | None
) -> Iterator[Finding]:
    """What the section's lengths tell: rounded to nothing, patience longer than the run."""
    where = place(parts, Span(1.0, units.total_steps, 0, units))
    for spec, (_, steps) in zip(parts, where, strict=True):
        if spec.until is not None and steps == 0:
            text = f"until {spec.until} is where the part begins: it gets no step"
            yield Finding("vanished", f"{text}; leave it out", (*spec.path, "until"))
        for inner in asked.inside(spec):
            yield from _vanished(inner, units)
        waits = asked.patience(spec)
        if waits and evaluations is not None and steps > 0:
            inner, name, patience = waits
            looks = evaluations * steps / units.total_steps
            if patience >= looks:
                text = f"{name} is {patience}, and there are {looks:.0f} evaluations: the LR is "
                fix = (
                    f"never cut; write {name}: {max(1, round(looks / 10))}, or evaluate more often"
                )
                yield Finding("patience", text + fix, (*inner.path, name))


def _vanished(spec: PartSpec, units: Units) -> Iterator[Finding]:
    lengths = {"for": spec.length, **spec.arguments}
    for key, length in lengths.items():
        if not isinstance(length, Length) or length.unit == "rest" or length.value == 0:
            continue
        if units.steps(length) == 0:
            exact = units.exact_steps(length)
            text = f"{spec.entry.name}: {length} of this run is {exact:.2g} steps, rounded to none"
            yield Finding("vanished", f"{text}; write 1 step, or leave it out", (*spec.path, key))

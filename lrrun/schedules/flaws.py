"""What can be wrong with a schedule's curve: each flaw is one function of the computed LRs.

A flaw that the config asks for by name (a constant, restarts) is none; asked.py knows the names.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from lrrun.errors import KeyPath
from lrrun.schedules import asked
from lrrun.schedules.base import Array
from lrrun.schedules.placement import PartSpec
from lrrun.units import Units

TENFOLD = 10.0 * (1.0 + 1e-9)
SAME = 1e-9
"""LRs that differ by less than this share of the peak are the same."""
FEW = 10
"""A run of fewer steps is too short to judge a curve's end by."""
ENOUGH = 0.1
"""A horizon that misses the run's end by more than this share disagrees with it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about a schedule that is probably not meant."""

    code: str
    message: str
    path: KeyPath = ()
    """The part or argument of the scheduler section to change."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A part of the section, and the LRs of the steps that it was given, [n]."""

    spec: PartSpec
    begin: int
    lr: Array


@dataclass(frozen=True, slots=True)
class Seen:
    """A schedule over its whole run: the LR of every update, [T], and the parts that gave them."""

    lr: Array
    peak: float
    parts: list[Placed]
    base: float
    units: Units

    def at(self, step: int) -> Placed:
        """The part that the update `step` belongs to."""
        return next(part for part in reversed(self.parts) if part.begin <= step)


def zero(seen: Seen) -> Iterator[Finding]:
    """Updates that change nothing; the first one alone is what many libraries' warmups waste."""
    steps = np.flatnonzero(seen.lr == 0)
    if not steps.size:
        return
    part = seen.at(int(steps[-1]))
    if steps.size == 1 and steps[0] == 0:
        text = "the LR of the first update is 0, so that it changes nothing: this warmup counts "
        fix = "from 0; our own warmup: 5% begins at 1/(W+1) of the peak"
        yield Finding("zero-lr", text + fix, part.spec.path)
        return
    noun = "1 update" if steps.size == 1 else f"{steps.size} of {len(seen.lr)} updates"
    text = f"the LR is 0 at {noun} (step {_ranges(steps)}), which change nothing; "
    fix = "end the decay where the run ends, or give it a final above 0 (final: 1%)"
    if steps[-1] < int(seen.lr.argmax()):
        fix = "begin above 0: our own warmup: 5% does"
    yield Finding("zero-lr", text + fix, part.spec.path)


def stuck(seen: Seen) -> Iterator[Finding]:
    """A warmup of length 0 that never leaves its start."""
    for part in seen.parts:
        found = asked.stuck(part.spec)
        top = float(part.lr.max())
        flat = top - part.lr.min() <= SAME * seen.peak
        if found and (flat or top < seen.base * (1.0 - SAME)):
            inner, name = found
            text = f"{inner.entry.name} with {name}: 0 never leaves its start: the LR is at most "
            fix = f"{top:.4g}, the base LR is {seen.base:.4g}; leave that part out"
            yield Finding("stuck", text + fix, (*inner.path, name))


def climbs_back(seen: Seen) -> Iterator[Finding]:
    """A part that falls and then rises again, though nothing in it asks for waves."""
    slack = 1e-6 * seen.peak
    for part in seen.parts:
        if asked.rises(part.spec):
            continue
        fallen = part.lr < np.maximum.accumulate(part.lr) - slack
        first = int(fallen.argmax())
        if not fallen[first]:
            continue
        after = part.lr[first:]
        lowest = np.minimum.accumulate(after)
        up = after > lowest + slack
        begin = int(up.argmax())
        if not up[begin]:
            continue
        low = float(lowest[begin])
        turn = part.begin + first + int(np.flatnonzero(after[:begin] == low)[-1])
        top = float(after[begin:].max())
        text = f"the LR falls to {low:.4g} at step {turn} of {len(seen.lr)} and climbs back to "
        yield Finding("climbs-back", f"{text}{top:.4g}; {_fit(part, seen)}", _blamed(part))


def jumps(seen: Seen) -> Iterator[Finding]:
    """More than tenfold, and suddenly, from one step to the next: no first rung of a warmup."""
    a, b = seen.lr[:-1], seen.lr[1:]
    seen_at_all = 0.01 * seen.peak
    up = (b > a * TENFOLD) & (a > 0) & (b >= seen_at_all)
    down = (a > b * TENFOLD) & (b > 0) & (a >= seen_at_all)
    found = np.flatnonzero(up | down)
    before = a[found] - a[np.maximum(found - 1, 0)]
    found = found[np.abs(b[found] - a[found]) > 3.0 * np.abs(before)]  # else the end of a line
    jumps = [int(i) for i in found if not (up[i] and _meant(seen, int(i)))]
    if not jumps:
        return
    i = jumps[0]
    text = f"the LR jumps from {a[i]:.4g} to {b[i]:.4g} at step {i + 1}"
    times = f", and at {len(jumps) - 1} more" if len(jumps) > 1 else ""
    fix = "; put a warmup between" if up[i] else "; cut it less at once, or let it decay there"
    yield Finding("jump", text + times + fix, seen.at(i + 1).spec.path)


def _meant(seen: Seen, i: int) -> bool:
    """Is the jump up after step `i` a restart that was asked for, or a warmup's first rung?"""
    if asked.rises(seen.at(i + 1).spec):
        return True
    if seen.lr[i + 1] > 0.5 * seen.peak:
        return False
    goes_on = seen.lr[i + 2 : i + 3] > seen.lr[i + 1]
    return bool(goes_on.any() or (seen.lr[: i + 1] == seen.lr[0]).all())


def ends_early(seen: Seen) -> Iterator[Finding]:
    """Another library's decay that is over long before the part is, and stays at its floor."""
    for part in seen.parts:
        if asked.rises(part.spec) or asked.horizon(part.spec) is None:
            continue
        low, top = float(part.lr.min()), int(part.lr.argmax())
        bottom = top + int((part.lr[top:] <= low + SAME * seen.peak).argmax())
        rest = len(part.lr) - bottom
        flat = part.lr[bottom:].max() - low <= SAME * seen.peak
        if top < bottom and flat and rest > ENOUGH * len(part.lr) + 1:
            text = f"the decay is over at step {part.begin + bottom}, and the LR stays at "
            left = f"{low:.4g} for {rest} of {len(seen.lr)} steps"
            yield Finding("ends-early", f"{text}{left}; {_fit(part, seen)}", _blamed(part))


def end(seen: Seen, parts: Sequence[PartSpec], explained: bool) -> Iterator[Finding]:
    """An LR that never decays, or that has hardly decayed when the run ends."""
    if len(seen.lr) < FEW or asked.constancy(parts):
        return
    if any(asked.any_end(part.spec) for part in seen.parts):
        return
    top, last = int(seen.lr.argmax()), float(seen.lr[-1])
    part = seen.parts[-1]
    if seen.lr[top:].min() >= seen.peak * (1.0 - SAME):
        if not explained:
            text = f"the LR never decays: its last value, {last:.4g}, is its highest; "
            fix = "add cooldown: 20%, or write constant if that is meant"
            yield Finding("never-decays", text + fix, part.spec.path)
    elif last > 0.5 * seen.peak and not explained:
        share = f"{100 * last / seen.peak:.0f}%"
        text = f"the run ends at an LR of {last:.4g}, {share} of its peak {seen.peak:.4g}; "
        yield Finding("ends-high", text + _fit(part, seen), _blamed(part))


def short_cooldown(seen: Seen) -> Iterator[Finding]:
    """A rise, a stable phase, and a fall to the end that is shorter than the rise."""
    if any(asked.rises(part.spec) for part in seen.parts):
        return
    high = np.flatnonzero(seen.lr >= seen.peak * (1.0 - SAME))
    warmup, stable_end = int(high[0]), int(high[-1])
    fall = np.diff(seen.lr[stable_end:])
    cooldown = len(fall) + 1  # its first step is still at the peak
    if seen.parts[-1].spec.entry.name == "cooldown":  # behind a stable phase that decays
        cooldown = len(seen.parts[-1].lr)
    elif stable_end == warmup or (fall < 0).sum() < min(2, len(fall)):
        return
    if len(fall) and cooldown < warmup:
        text = f"the cooldown takes {cooldown} steps, fewer than the {warmup} of the warmup; "
        fix = f"write a longer one (20% of the run is {round(0.2 * len(seen.lr))} steps)"
        yield Finding("short-cooldown", text + fix, seen.parts[-1].spec.path)


def short_warmup(seen: Seen, beta2: float) -> Iterator[Finding]:
    """A warmup that is over before Adam's second moment has seen enough, in a long run."""
    needed = 1.0 / (1.0 - beta2)
    first = seen.parts[0]
    warmup = int((seen.lr >= seen.peak * (1.0 - SAME)).argmax())
    if asked.rises(first.spec) or not 0 < warmup < needed * (1.0 - SAME):
        return
    if len(seen.lr) > 10.0 * needed * (1.0 + SAME):
        text = f"the warmup takes {warmup} steps, and Adam with beta2 {beta2:g} averages squared "
        fix = f"gradients over {needed:.0f}; write warmup: {needed:.0f} steps, or a lower beta2"
        yield Finding("short-warmup", text + fix, first.spec.path)


def _fit(part: Placed, seen: Seen) -> str:
    """What to write so that the part's horizon is the run's."""
    told = asked.horizon(part.spec)
    if told is None:
        return "let the decay take the whole run, as our own cosine and linear do"
    inner, name = told
    epochs = (part.spec.interval or part.spec.entry.clock) == "epoch"
    ticks = len(part.lr) / (seen.units.steps_per_epoch or 1) if epochs else len(part.lr)
    there = f"there are {ticks:g} {'epochs' if epochs else 'steps'}"
    if inner is not part.spec:
        there = "its stretch of the run has another length"
    text = f"{name} is {asked.argument(inner, name)} and {there}: make them agree"
    return f"{text}, or use our own cosine or linear, which know the run's length"


def _blamed(part: Placed) -> KeyPath:
    """The argument that says how long the part's formula is, else the part."""
    told = asked.horizon(part.spec)
    return (*told[0].path, told[1]) if told else part.spec.path


def _ranges(steps: np.ndarray) -> str:
    """Rising step numbers as people write them, the first three stretches of them.

    >>> _ranges(np.array([0, 7, 8, 9]))
    '0, 7-9'
    """
    ends = np.flatnonzero(np.diff(steps) > 1)
    firsts = steps[np.concatenate([[0], ends + 1])]
    lasts = steps[np.concatenate([ends, [len(steps) - 1]])]
    shown = [f"{a}" if a == b else f"{a}-{b}" for a, b in zip(firsts[:3], lasts[:3], strict=True)]
    return ", ".join(shown) + (", …" if len(firsts) > 3 else "")

"""The learning rates of two runs, set against each other bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from lrrun.analysis.gates import Gate, GateResult, subject, unjudged
from lrrun.analysis.seed_groups import SeedGroup, seed_of
from lrrun.runlog.summary import lr_columns
from lrrun.runlog.table import Floats


@dataclass(frozen=True)
class LrTrace:
    """The LRs of a run by column, one per param group, at the `steps` that were logged.

    `updates` counts the updates done.
    """

    steps: Floats
    lrs: Mapping[str, Floats]
    updates: int


def lr_trace(blocks: Iterable[Mapping[str, Floats]], updates: int) -> LrTrace:
    """Keep the steps and the LRs of the columns of steps.csv, which come in blocks of rows."""
    kept = [{name: block[name] for name in ("step", *lr_columns(block))} for block in blocks]
    names = list(kept[0])
    joined = {name: np.concatenate([block[name] for block in kept]) for name in names}
    return LrTrace(joined.pop("step"), joined, updates)


def departure(ours: LrTrace, theirs: LrTrace) -> str:
    """Where `ours` first leaves `theirs`, in words; empty where all LRs are the same bits.

    Of steps that only one of them logged nothing is known.

    >>> trace, steps = LrTrace, np.arange(3.0)
    >>> departure(trace(steps, {"lr": steps}, 3), trace(steps, {"lr": steps + 1e-16}, 3))
    'lr 0.0 at step 0, the baseline 1e-16'
    """
    if ours.lrs.keys() != theirs.lrs.keys():
        return f"columns {', '.join(ours.lrs)}, the baseline {', '.join(theirs.lrs)}"
    steps, here, there = np.intersect1d(
        ours.steps, theirs.steps, assume_unique=True, return_indices=True
    )
    for name, values in ours.lrs.items():
        a, b = values[here], theirs.lrs[name][there]
        apart = np.flatnonzero(a.view(np.int64) != b.view(np.int64))
        if apart.size:
            k = int(apart[0])
            return f"{name} {float(a[k])!r} at step {steps[k]:.0f}, the baseline {float(b[k])!r}"
    if ours.updates != theirs.updates:
        return f"LRs of {ours.updates} steps, the baseline of {theirs.updates}"
    return "" if steps.size else "no step that the baseline logged too"


def judge_lrs(
    gate: Gate, group: SeedGroup, baseline: SeedGroup, trace: Callable[[int], LrTrace]
) -> GateResult:
    """Hold the LRs of every run of a group against those of the baseline, bit for bit.

    Of the baseline it is the run of the same seed, as a plateau's LRs follow the losses, else its
    first one. `trace` gives the LRs of the run at an index of the comparison.
    """
    of = subject(group)
    if missing := unjudged(group):
        return GateResult(gate.text, of, False, missing)
    by_seed = {
        seed_of(view): index for index, view in zip(baseline.runs, baseline.views, strict=True)
    }
    for index, run in zip(group.runs, group.views, strict=True):
        other = by_seed.get(seed_of(run), baseline.runs[0])
        if apart := departure(trace(index), trace(other)):
            return GateResult(gate.text, of, False, f"{run.name} has {apart}")
    return GateResult(gate.text, of, True, f"{of} has the LRs of the baseline, bit for bit")

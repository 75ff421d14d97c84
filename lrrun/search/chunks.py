"""Which trials of a batch are trained together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

from lrrun.config.experiment import Experiment
from lrrun.config.fusing import Group, differing_key, groups
from lrrun.search.plan import Chunk

MOST = 64
"""Trials in a chunk: more gain little speed, and a chunk that is killed begins anew."""


def chunks_of(experiments: Mapping[int, Experiment], most: int, workers: int) -> list[Chunk]:
    """The trials, by number, in chunks of at most `most` that may be stacked.

    A group is cut into pieces of even size, as many as keep all workers busy.
    """
    numbers = list(experiments)
    found: list[Chunk] = []
    for group in groups(list(experiments.values())):
        own = [numbers[k] for k in group.indices]
        pieces = max(math.ceil(len(own) / most), min(workers, len(own)))
        ends = [round(len(own) * k / pieces) for k in range(pieces + 1)]
        found += [tuple(own[a:b]) for a, b in pairwise(ends)]
    return sorted(found)


def reasons(experiments: Sequence[Experiment]) -> list[str]:
    """Why the trials cannot all be stacked: the key in the way, a sentence a reason."""
    found = groups(experiments)
    alone: dict[str, int] = {}
    for group in found:
        if group.reason is not None:
            alone[group.reason] = alone.get(group.reason, 0) + len(group.indices)
    said = [f"{_trials(count)} one by one: {reason}" for reason, count in alone.items()]
    stacked = [group for group in found if group.reason is None]
    keys = dict.fromkeys(_key(experiments, stacked[0], other) for other in stacked[1:])
    if len(stacked) > 1:
        said.append(
            f"{len(stacked)} groups: trials that differ in {', '.join(keys)} cannot be fused"
        )
    return said


def _key(experiments: Sequence[Experiment], one: Group, other: Group) -> str:
    key = differing_key(experiments[one.indices[0]], experiments[other.indices[0]])
    return key or "their shapes"


def _trials(count: int) -> str:
    return f"{count:,} trial{'' if count == 1 else 's'}"

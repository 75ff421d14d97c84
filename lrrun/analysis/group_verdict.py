"""Which seed group is better, by how much, and how sure that is, in words."""

from __future__ import annotations

import math
from collections.abc import Sequence

from lrrun.analysis.compare import RunView, gap_in_words, named
from lrrun.analysis.mean_difference import MOST_SEEDS, POWER, MeanDifference, each_pair
from lrrun.analysis.seed_groups import Grouping, SeedGroup
from lrrun.records import higher_is_better


def group_verdict(grouping: Grouping) -> str:
    """One sentence: the best two groups, and whether the seeds tell them apart."""
    metric, ranked = grouping.metric, grouping.comparable
    if metric is None or not ranked:
        first = grouping.groups[0]
        if first.lost:
            return f"No group is without divergence: fewest in {first.label}, {_lost(first)}."
        return "No group has a completed run yet, so there is nothing to rank."
    first = ranked[0]
    mean, half = first.mean(metric) or (math.nan, None)
    spread = "" if half is None else f" ± {half:.2g}"
    if len(ranked) == 1:
        return (
            f"{first.label} is best: mean {metric} {mean:.4g}{spread} over {_seeds(first)}; "
            "no other group has a mean to compare."
        )
    second = ranked[1]
    found = grouping.to_best[second.label]
    if found.value == 0 == found.half_width:
        level = f"{first.label} and {second.label} are level"
        return f"{level}: mean {metric} {mean:.4g}, the same seed by seed."
    side = "above" if higher_is_better(metric) else "below"
    by = gap_in_words(abs(found.value), mean + found.value)
    at = f"mean {metric} {mean:.4g}, {by} {side} {second.label}"
    if found.is_told:
        return f"{first.label} is better: {at}."
    if found.half_width is None:
        return f"{first.label} is best, of one seed: {at}."
    return f"{first.label} has the best mean, but that may be chance: {at}."


def group_notes(grouping: Grouping) -> list[str]:
    """How sure the verdict is, what else it holds for, and which runs are not in the means."""
    notes = []
    ranked = grouping.comparable
    found = grouping.to_best[ranked[1].label] if len(ranked) > 1 else None
    if found is not None and found.half_width is not None and (found.value or found.half_width):
        ends = (found.low, found.high)
        low, high = (-ends[1], -ends[0]) if higher_is_better(grouping.metric or "") else ends
        notes.append(
            f"95% interval of the difference: {low:.3g} to {high:.3g} ({found.how}"
            f"{_correction(len(ranked))})."
        )
        if not found.is_told and found.half_width:
            notes.append(needed(found))
    level = [each.label for each in ranked[2:] if not grouping.to_best[each.label].is_told]
    if level:
        notes.append(f"Not told from {ranked[0].label} either: {named(level)}.")
    for group in grouping.groups:
        notes.extend(_left_out(group, grouping.metric or ""))
    return notes


def needed(found: MeanDifference) -> str:
    """How many seeds would tell a difference of the size that was seen."""
    seeds = found.seeds_needed()
    count = f"more than {max(MOST_SEEDS, *found.seeds)}" if seeds is None else f"about {seeds}"
    return f"To tell a difference of this size takes {count} seeds each (power {POWER:g})."


def _correction(groups: int) -> str:
    _, pairs = each_pair(groups)
    return f"; Bonferroni over the {pairs} pairs" if pairs > 1 else ""


def _left_out(group: SeedGroup, metric: str) -> list[str]:
    notes = []
    if group.lost:
        notes.append(
            f"{group.label}: {_lost(group)} diverged ({_names(group.diverged)}); ranked behind "
            "the groups where none did, its mean is over the others."
        )
    if group.unfinished or group.without(metric):
        ends = [f"{run.name} {run.status}" for run in group.unfinished]
        ends += [f"{run.name} without a {metric}" for run in group.without(metric)]
        notes.append(f"{group.label}: not in the mean: {named(ends)}.")
    if group.repeated:
        notes.append(
            f"{group.label}: runs of one seed count as one, by their mean: "
            f"{_names(group.repeated)}."
        )
    return notes


def _names(runs: Sequence[RunView]) -> str:
    return named([run.name for run in runs])


def _lost(group: SeedGroup) -> str:
    return f"{group.lost} of {_seeds(group)}"


def _seeds(group: SeedGroup) -> str:
    return f"{group.seeds} seed" + "s" * (group.seeds != 1)

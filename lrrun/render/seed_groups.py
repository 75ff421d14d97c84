"""How seed groups look: a row a group, and what the seeds say of the best two."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from lrrun.analysis.compare import Comparison
from lrrun.analysis.gates import GateResult
from lrrun.analysis.group_verdict import group_notes, group_verdict
from lrrun.analysis.mean_difference import each_pair
from lrrun.analysis.seed_groups import Grouping, SeedGroup, Which
from lrrun.render.comparison import print_differences, print_runs
from lrrun.render.numbers import count, metric, number
from lrrun.render.tables import Column, print_table
from lrrun.render.terminal import printable, supports_unicode

_GATES = 8
"""Sentences on one gate; the rest that met it are counted."""


def print_groups(
    console: Console,
    comparison: Comparison,
    grouping: Grouping,
    groups: Sequence[SeedGroup],
    runs: Sequence[int] = (),
) -> None:
    """Print what differs, the means of `groups`, the results of `runs`, and the verdict over all.

    `runs` holds indices, none for no table of runs; groups that are not shown are counted.
    """
    kept = [each for each in comparison.differences if each.key != "seed"]
    print_differences(console, kept, [(each.label, each.runs[0]) for each in groups])
    console.print()
    sign = "±" if supports_unicode(console) else "+-"
    print_table(console, _columns(comparison, grouping, groups, f" {sign} "))
    _, pairs = each_pair(max(2, len(grouping.comparable)))
    corrected = f"; to the best, of all {count(pairs)} pairs at once" if pairs > 1 else ""
    console.print(f"{sign} is half of the 95% interval over seeds{corrected}", style="dim")
    if rest := len(grouping.groups) - len(groups):
        console.print(f"and {count(rest)} more groups; --all shows them", style="dim")
    if not runs:
        runs_of = f"{count(len(comparison.runs))} runs in {count(len(grouping.groups))} groups"
        console.print(f"{runs_of}; --all shows each run", style="dim")
    else:
        console.print()
        print_runs(console, comparison, runs)
    console.print()
    console.print(printable(group_verdict(grouping)), style="bold")
    for note in group_notes(grouping):
        console.print(printable(note), style="dim")


def print_gates(console: Console, results: Sequence[GateResult]) -> None:
    """What met its gates; what did not is the command's error."""
    met: dict[str, list[GateResult]] = {}
    for each in results:
        if each.met:
            met.setdefault(each.gate, []).append(each)
    if met:
        console.print()
    for gate, of in met.items():
        for each in of[:_GATES]:
            console.print(printable(f"gate {gate!r} met: {each.sentence}"), style="green")
        if len(of) > _GATES:
            console.print(printable(f"gate {gate!r} met by {count(len(of) - _GATES)} more"))


def _columns(
    comparison: Comparison, grouping: Grouping, groups: Sequence[SeedGroup], sign: str
) -> list[Column]:
    rank = {each.label: place for place, each in enumerate(grouping.groups, start=1)}
    main = grouping.metric
    columns = [
        Column("#", [str(rank[each.label]) for each in groups], "right"),
        Column("group", [each.label for each in groups], style="cyan", fold=28),
        Column("\nseeds", [_seeds(each, main or "") for each in groups], "right"),
    ]
    for name in comparison.metrics():
        keep = 9 if name == main else 5
        if name == "train_loss" and name != main:
            columns.append(
                Column(f"{name}\nlast", _means(groups, name, "last", sign), "right", keep=3)
            )
            continue
        columns.append(
            Column(f"{name}\nbest", _means(groups, name, "best", sign), "right", keep=keep)
        )
        if name == main and grouping.to_best:
            columns.append(
                Column("to the\nbest", _to_best(grouping, groups, sign), "right", keep=8)
            )
        last = _means(groups, name, "last", sign)
        columns.append(Column(f"{name}\nlast", last, "right", keep=keep - 2))
    return columns


def _seeds(group: SeedGroup, name: str) -> str:
    """Seeds in the mean, and of how many."""
    taken = len(group.values(name))
    return str(taken) if taken == group.seeds else f"{taken} of {group.seeds}"


def _means(groups: Sequence[SeedGroup], name: str, which: Which, sign: str) -> list[str]:
    cells = []
    for group in groups:
        mean, half = group.mean(name, which) or (None, None)
        cells.append(metric(mean) + ("" if half is None else f"{sign}{_half(half)}"))
    return cells


def _to_best(grouping: Grouping, groups: Sequence[SeedGroup], sign: str) -> list[str]:
    cells = []
    for group in groups:
        found = grouping.to_best.get(group.label)
        if found is None:
            cells.append("-")
            continue
        half = "" if found.half_width is None else f"{sign}{_half(found.half_width)}"
        cells.append(f"{'+' if found.value > 0 else ''}{number(found.value, 3)}{half}")
    return cells


def _half(width: float) -> str:
    """Half of an interval in two digits, a zero kept, so that a column of them lines up."""
    return f"{width:#.2g}" if 1e-4 <= width < 9.9 else number(width, 2)

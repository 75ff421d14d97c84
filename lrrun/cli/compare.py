"""`lrrun compare`: what differed, who did best, by how much, how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lrrun.cli.garbage import uncollected
from lrrun.cli.options import DEFAULT_RUNS_DIR, JsonFlag, PlotsFlag, RunsDir

if TYPE_CHECKING:
    from lrrun.analysis.compare import Comparison
    from lrrun.analysis.course import Course
    from lrrun.analysis.gates import GateResult
    from lrrun.analysis.seed_groups import Grouping, SeedGroup
    from lrrun.cli.compared_runs import Opened
    from lrrun.cli.run_curves import RunCurves

SHOWN = 20
"""Runs or groups in the tables, the first in the chosen order, unless all are asked for."""

DRAWN = 8
"""Runs or groups whose curves are drawn, the best: as many as there are colours."""


@uncollected()
def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            help="Two or more (one with --gate): a path, a name, the beginning of one, or latest."
        ),
    ],
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
    sort: Annotated[
        str, typer.Option("--sort", help="Order of the rows: rank, given, name, time, or a metric.")
    ] = "rank",
    every: Annotated[
        bool,
        typer.Option("--all", help=f"Show every run, not the first {SHOWN}, and read its steps."),
    ] = False,
    gates: Annotated[
        list[str] | None,
        typer.Option(
            "--gate",
            help="End with code 7 unless it holds: 'val_loss <= 0.08', "
            "'val_loss <= baseline + 2%', or lr (the LRs are the baseline's). Repeatable.",
            metavar="CONDITION",
        ),
    ] = None,
    baseline: Annotated[
        list[str] | None,
        typer.Option(
            "--baseline",
            help="What gates compare with: a run, 'main-*', or a folder of runs. Repeatable.",
            metavar="RUN",
        ),
    ] = None,
    plots: PlotsFlag = True,
    png: Annotated[
        Path | None,
        typer.Option("--png", help="Draw the curves of the best into this .png or .svg."),
    ] = None,
    json_output: JsonFlag = False,
) -> None:
    """Compare runs: the config keys that differ, best and last metrics, loss and LR curves.

    Runs that differ in nothing but the seed are taken together: their mean, its 95% interval, and
    whether two such groups can be told apart.
    """
    from lrrun.analysis.compare import compare as lay_side_by_side
    from lrrun.analysis.compare import order
    from lrrun.analysis.gates import read_gate
    from lrrun.analysis.seed_groups import group_by_seed, in_order
    from lrrun.cli.compared_runs import courses_of, open_runs, with_lr_sums
    from lrrun.cli.gating import judge_all, refuse_unmet

    if png is not None:
        from lrrun.render.figures import refuse_undrawable

        refuse_undrawable(png)
    conditions = [read_gate(text) for text in gates or ()]
    opened = open_runs(runs, baseline or (), runs_dir, fewest=1 if conditions else 2)
    found = list(opened.runs.values())
    comparison = lay_side_by_side(opened.views())
    grouping = group_by_seed(comparison, opened.baseline)
    results = judge_all(conditions, comparison, grouping, found)
    indices = order(comparison, sort)
    drawn = comparison.ranking[:DRAWN] if png is not None or (plots and not json_output) else ()
    tabled = indices if every else indices[:SHOWN]
    if grouping.decides and not json_output:
        tabled = indices if every else ()
    courses = courses_of(found, {*tabled, *(() if grouping.decides else drawn)})
    comparison = with_lr_sums(comparison, courses)
    pictured = _Picture.of(comparison, grouping, opened, courses, drawn)
    if png is not None:
        pictured.save(png)
    if json_output:
        from lrrun.cli.compared_data import as_data
        from lrrun.runlog import strict_json

        for line in strict_json.object_lines(as_data(comparison, grouping, results, indices)):
            print(line)
    else:
        groups = in_order(grouping, sort, indices)
        _print(comparison, grouping, groups if every else groups[:SHOWN], tabled, results)
        if plots:
            pictured.print()
    refuse_unmet(results)


def _print(
    comparison: Comparison,
    grouping: Grouping,
    groups: Sequence[SeedGroup],
    tabled: Sequence[int],
    results: Sequence[GateResult],
) -> None:
    from lrrun.render.comparison import print_comparison
    from lrrun.render.seed_groups import print_gates, print_groups
    from lrrun.render.terminal import make_console

    console = make_console()
    if grouping.decides:
        print_groups(console, comparison, grouping, groups, tabled)
    else:
        print_comparison(console, comparison, tabled)
    print_gates(console, results)


@dataclass(frozen=True)
class _Picture:
    """The curves of the best runs or groups; `note` says of how many, if there are more."""

    title: str
    curves: RunCurves
    note: str

    @classmethod
    def of(
        cls,
        comparison: Comparison,
        grouping: Grouping,
        opened: Opened,
        courses: Mapping[int, Course],
        drawn: Sequence[int],
    ) -> _Picture:
        """Of seed groups where they decide, else of the runs at `drawn`; nothing without these."""
        from lrrun.cli.group_curves import curves_of_groups
        from lrrun.cli.run_curves import RunCurves

        metric = comparison.metric or "loss"
        names, runs = list(opened.runs), list(opened.runs.values())
        if grouping.decides and drawn:
            best = grouping.groups[:DRAWN]
            curves = curves_of_groups(best, runs, metric)
            few, all_of_them = len(best), len(grouping.groups)
            metric = f"{metric}, mean over seeds and its 95% band"
        else:
            found = [(names[index], runs[index], courses[index]) for index in drawn]
            curves = RunCurves.of_several(found, metric)
            few, all_of_them = len(drawn), len(runs)
        return cls(metric, curves, f"The curves of the best {few}:" if few < all_of_them else "")

    def save(self, png: Path) -> None:
        """Draw into a file."""
        from lrrun.render.comparison import save_loss_and_lr

        save_loss_and_lr(png, self.title, self.curves.losses, self.curves.lrs)

    def print(self) -> None:
        """Draw in the terminal."""
        from lrrun.render.comparison import print_loss_and_lr
        from lrrun.render.terminal import make_console, printable

        console = make_console()
        if self.note:
            console.print(f"\n{self.note}")
        print_loss_and_lr(console, self.title, self.curves.losses, self.curves.lrs)
        for sentence in self.curves.missing:
            console.print(printable(sentence), style="dim", soft_wrap=True)

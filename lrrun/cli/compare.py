"""`lrrun compare`: what differed, who did best, by how much."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lrrun.cli.garbage import uncollected
from lrrun.cli.options import DEFAULT_RUNS_DIR, JsonFlag, PlotsFlag, RunsDir
from lrrun.errors import UsageError

if TYPE_CHECKING:
    from lrrun.analysis.compare import Comparison, RunView
    from lrrun.analysis.course import Course
    from lrrun.cli.run_curves import RunCurves
    from lrrun.runlog.reader import Run

SHOWN = 20
"""Runs in the tables, the first in the chosen order, unless all are asked for."""

DRAWN = 8
"""Runs whose curves are drawn, the best of the ranking: as many as there are colours."""


@uncollected()
def compare(
    runs: Annotated[
        list[str],
        typer.Argument(help="Two or more: a path, a name, the beginning of one, or latest."),
    ],
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
    sort: Annotated[
        str, typer.Option("--sort", help="Order of the rows: rank, given, name, time, or a metric.")
    ] = "rank",
    every: Annotated[
        bool,
        typer.Option("--all", help=f"Show every run, not the first {SHOWN}, and read its steps."),
    ] = False,
    plots: PlotsFlag = True,
    png: Annotated[
        Path | None,
        typer.Option("--png", help="Draw the curves of the best into this .png or .svg."),
    ] = None,
    json_output: JsonFlag = False,
) -> None:
    """Compare runs: the config keys that differ, best and last metrics, loss and LR curves."""
    from lrrun.analysis.compare import compare as lay_side_by_side
    from lrrun.analysis.compare import order

    if png is not None:
        from lrrun.render.figures import refuse_undrawable

        refuse_undrawable(png)
    opened = _open(runs, runs_dir)
    comparison = lay_side_by_side([_view(name, run) for name, run in opened.items()])
    indices = order(comparison, sort)
    shown = indices if every else indices[:SHOWN]
    printed = plots and not json_output
    drawn = comparison.ranking[:DRAWN] if printed or png is not None else ()
    courses = _courses(list(opened.values()), {*shown, *drawn})
    comparison = _with_lr_sums(comparison, courses)
    metric = comparison.metric or "loss"
    pictured = _curves(opened, courses, drawn, metric)
    if png is not None:
        from lrrun.render.comparison import save_loss_and_lr

        save_loss_and_lr(png, metric, pictured.losses, pictured.lrs)
    if json_output:
        from lrrun.runlog import strict_json

        for line in strict_json.object_lines(_as_data(comparison, indices)):
            print(line)
        return
    from lrrun.render.comparison import print_comparison, print_loss_and_lr
    from lrrun.render.terminal import make_console, printable

    console = make_console()
    print_comparison(console, comparison, shown)
    if plots:
        if len(drawn) < len(opened):
            console.print(f"\nThe curves of the best {len(drawn)}:")
        print_loss_and_lr(console, metric, pictured.losses, pictured.lrs)
        for sentence in pictured.missing:
            console.print(printable(sentence), style="dim", soft_wrap=True)


def _open(references: list[str], runs_dir: Path) -> dict[str, Run]:
    """The runs by name, or by path where two share a name; refuses fewer than two, or one twice.

    Sweeps and searches, which `runs/*` names as well, are passed over, and that is said.
    """
    from lrrun.cli.following import tell
    from lrrun.runlog.names import SWEEP
    from lrrun.runlog.reader import Run, find_run

    if len(references) < 2:
        raise UsageError(
            f"compare needs two runs or more, got {len(references)}; `lrrun list` names them, "
            "`lrrun show RUN` explains one"
        )
    folders: dict[Path, str] = {}
    opened: list[Run] = []
    for reference in references:
        paths = (Path(reference), runs_dir / reference)
        sweep = next((path for path in paths if (path / SWEEP).is_file()), None)
        if sweep is not None:
            tell(f"{sweep} is a sweep and was left out; its runs: {sweep}/trial-*")
            continue
        folder = find_run(reference, runs_dir)
        run = Run.open(folder)
        if run.is_search:
            tell(f"{folder} is a search for a learning rate and was left out")
            continue
        earlier = folders.setdefault(folder.resolve(), reference)
        if len(folders) == len(opened):
            raise UsageError(f"{earlier!r} and {reference!r} are one run: {str(folder)!r}")
        opened.append(run)
    if len(opened) < 2:
        raise UsageError(f"compare needs two runs or more, and found {len(opened)}")
    names = Counter(run.name for run in opened)
    return {run.name if names[run.name] == 1 else str(run.path): run for run in opened}


def _view(name: str, run: Run) -> RunView:
    from lrrun.analysis.compare import RunView

    gone = "its process is gone; lrrun resume goes on with it" if run.abandoned else ""
    return RunView(name, run.status, run.sentence or gone, run.config, run.summary)


def _courses(runs: Sequence[Run], indices: Iterable[int]) -> dict[int, Course]:
    """The steps of the runs at `indices`: of thousands, no more are read than are shown."""
    from lrrun.analysis.course import follow

    return {index: runs[index].fold_steps(follow) for index in sorted(indices)}


def _curves(
    opened: Mapping[str, Run], courses: Mapping[int, Course], drawn: Iterable[int], metric: str
) -> RunCurves:
    """The curves of the metric and of the LR of the runs at `drawn`, and of their trunks."""
    from lrrun.cli.run_curves import RunCurves

    names = list(opened)
    found = [(names[index], opened[names[index]], courses[index]) for index in drawn]
    return RunCurves.of_several(found, metric)


def _with_lr_sums(comparison: Comparison, courses: Mapping[int, Course]) -> Comparison:
    from dataclasses import replace

    runs = list(comparison.runs)
    for index, course in courses.items():
        runs[index] = replace(runs[index], lr_sum=course.lr_sum(runs[index].summary.steps))
    return replace(comparison, runs=tuple(runs))


def _as_data(comparison: Comparison, indices: tuple[int, ...]) -> dict[str, Any]:
    from lrrun.analysis.compare import MISSING, caution, verdict

    names = [run.name for run in comparison.runs]
    return {
        "metric": comparison.metric,
        "ranking": [names[index] for index in comparison.ranking],
        "verdict": verdict(comparison),
        "caution": caution(comparison),
        "differences": [
            {
                "key": each.key,
                "values": {
                    name: value
                    for name, value in zip(names, each.values, strict=True)
                    if value is not MISSING
                },
            }
            for each in comparison.differences
        ],
        "runs": [
            {
                "name": run.name,
                "status": run.status,
                "sentence": run.sentence,
                **vars(run.summary),
                "lr_sum": run.lr_sum,
            }
            for run in (comparison.runs[index] for index in indices)
        ],
    }

"""`lrrun compare`: what differed, who did best, by how much."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lrrun.cli.options import DEFAULT_RUNS_DIR, JsonFlag, PlotsFlag, RunsDir
from lrrun.errors import UsageError

if TYPE_CHECKING:
    from lrrun.analysis.compare import Comparison, RunView
    from lrrun.analysis.course import Course
    from lrrun.render.plots import Curve
    from lrrun.runlog.reader import Run

SHOWN = 20
"""Runs in the tables, the first in the chosen order, unless all are asked for."""

DRAWN = 8
"""Runs whose curves are drawn, the best of the ranking: as many as there are colours."""


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
    json_output: JsonFlag = False,
) -> None:
    """Compare runs: the config keys that differ, best and last metrics, loss and LR curves."""
    from lrrun.analysis.compare import compare as lay_side_by_side
    from lrrun.analysis.compare import order

    opened = _open(runs, runs_dir)
    comparison = lay_side_by_side([_view(name, run) for name, run in opened.items()])
    indices = order(comparison, sort)
    shown = indices if every else indices[:SHOWN]
    drawn = comparison.ranking[:DRAWN] if plots and not json_output else ()
    courses = _courses(list(opened.values()), {*shown, *drawn})
    comparison = _with_lr_sums(comparison, courses)
    if json_output:
        from lrrun.runlog import strict_json

        print(strict_json.dumps(_as_data(comparison, indices)))
        return
    from lrrun.render.comparison import print_comparison, print_loss_and_lr
    from lrrun.render.terminal import make_console

    console = make_console()
    print_comparison(console, comparison, shown)
    if plots:
        names = list(opened)
        metric = comparison.metric or "loss"
        found = [(names[index], opened[names[index]], courses[index]) for index in drawn]
        if len(drawn) < len(names):
            console.print(f"\nThe curves of the best {len(drawn)}:")
        print_loss_and_lr(
            console,
            metric,
            [loss_curve(name, run, course, metric) for name, run, course in found],
            [lr_curve(name, run, course) for name, run, course in found],
        )


def _open(references: list[str], runs_dir: Path) -> dict[str, Run]:
    """The runs by name, or by path where two share a name; refuses fewer than two, or one twice."""
    from lrrun.runlog.reader import Run, find_run

    if len(references) < 2:
        raise UsageError(
            f"compare needs two runs or more, got {len(references)}; `lrrun list` names them, "
            "`lrrun show RUN` explains one"
        )
    folders: dict[Path, str] = {}
    opened: list[Run] = []
    for reference in references:
        folder = find_run(reference, runs_dir)
        earlier = folders.setdefault(folder.resolve(), reference)
        if len(folders) == len(opened):
            raise UsageError(f"{earlier!r} and {reference!r} are one run: {str(folder)!r}")
        opened.append(Run.open(folder))
    names = Counter(run.name for run in opened)
    return {run.name if names[run.name] == 1 else str(run.path): run for run in opened}


def _view(name: str, run: Run) -> RunView:
    from lrrun.analysis.compare import RunView

    return RunView(name, run.status, run.sentence, run.config, run.summary)


def _courses(runs: Sequence[Run], indices: Iterable[int]) -> dict[int, Course]:
    """The steps of the runs at `indices`: of thousands, no more are read than are shown."""
    from lrrun.analysis.course import follow

    return {index: runs[index].fold_steps(follow) for index in sorted(indices)}


def _with_lr_sums(comparison: Comparison, courses: Mapping[int, Course]) -> Comparison:
    from dataclasses import replace

    runs = list(comparison.runs)
    for index, course in courses.items():
        runs[index] = replace(runs[index], lr_sum=course.lr_sum(runs[index].summary.steps))
    return replace(comparison, runs=tuple(runs))


def loss_curve(name: str, run: Run, course: Course, metric: str) -> Curve:
    """The metric over steps; the training loss of every logged step where it has too few values."""
    import numpy as np

    from lrrun.render.plots import Curve

    values = run.epochs.get(metric)
    if values is not None and np.isfinite(values).sum() >= 2:
        known = ~np.isnan(values)
        return Curve(name, run.epochs["step"][known], values[known])
    return Curve(f"{name} (training)", *course.loss)


def lr_curve(name: str, run: Run, course: Course) -> Curve:
    """The LR of the first param group over steps, from every logged step, else from the epochs."""
    from lrrun.render.plots import Curve
    from lrrun.runlog.summary import lr_columns

    if course.rows > 1:
        return Curve(name, *course.lr)
    columns = lr_columns(run.epochs)
    values = run.epochs[columns[0]] if columns else run.epochs["step"][:0]
    return Curve(name, run.epochs["step"][: values.size], values)


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

"""`lrrun list`: the runs there are, the oldest first."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lrrun.cli.garbage import uncollected
from lrrun.cli.options import DEFAULT_RUNS_DIR, JsonFlag, RunsDir
from lrrun.errors import UnusableFile

if TYPE_CHECKING:
    from lrrun.runlog.reader import BrokenRun, Run
    from lrrun.runlog.summary import Summary
    from lrrun.search.overview import Overview

    Row = tuple[Run | BrokenRun, Summary | None, str]


@uncollected()
def list_(
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
    sort: Annotated[
        str,
        typer.Option(
            "--sort", help="Order of the runs: created, name, time, or a metric, the best first."
        ),
    ] = "created",
    last: Annotated[
        int | None, typer.Option("--last", min=1, help="Only so many of the newest of each kind.")
    ] = None,
    json_output: JsonFlag = False,
) -> None:
    """List runs, searches and sweeps: status, components, best metrics; the oldest first.

    With --json each has its `kind`: run, find (a search for a learning rate) or sweep.
    """
    from lrrun.runlog.reader import BrokenRun, list_runs

    newest = slice(-last if last else None, None)
    found, searches = _parted(list_runs(runs_dir))
    searches, sweeps = searches[newest], _sweeps(runs_dir)[newest]
    rows = _in_order([(run, *_summary(run)) for run in found], sort, newest)
    if json_output:
        from lrrun.runlog import strict_json

        runs = (_as_data(*row) for row in rows)
        for line in strict_json.lines(chain(runs, searches, map(_sweep_data, sweeps))):
            print(line)
        return
    from lrrun.render.runs import print_run_list
    from lrrun.render.terminal import make_console, printable

    console = make_console()
    if not found and not sweeps and not searches:
        console.print(
            printable(f"No runs in {runs_dir}/ yet; `lrrun train CONFIG` makes one."),
            soft_wrap=True,
        )
        return
    whole = [(run, summary) for run, summary, _ in rows if not isinstance(run, BrokenRun)]
    if whole:
        print_run_list(console, whole)
    for run, _, problem in rows:
        if problem:
            console.print(printable(f"{run.name}: unreadable: {problem}"), soft_wrap=True)
    if searches:
        from lrrun.render.finding import print_search_list

        if found:
            console.print()
        print_search_list(console, searches)
    if sweeps:
        from lrrun.render.sweeping import print_sweep_list

        if found or searches:
            console.print()
        print_sweep_list(console, sweeps)


def _parted(
    found: list[Run | BrokenRun],
) -> tuple[list[Run | BrokenRun], list[dict[str, Any]]]:
    """The runs, and what the searches for a learning rate came to."""
    from lrrun.cli.find_report import row_of
    from lrrun.runlog.reader import Run

    searches = [run for run in found if isinstance(run, Run) and run.is_search]
    paths = {run.path for run in searches}
    return [run for run in found if run.path not in paths], [row_of(run) for run in searches]


def _summary(run: Run | BrokenRun) -> tuple[Summary | None, str]:
    """The run's numbers, and what keeps them from being read."""
    from lrrun.runlog.reader import BrokenRun

    if isinstance(run, BrokenRun):
        return None, run.problem
    try:
        return run.summary, ""
    except UnusableFile as error:
        return None, str(error)


def _in_order(rows: list[Row], by: str, newest: slice) -> list[Row]:
    """The newest runs in the order that is asked for; what cannot be read comes last."""
    from lrrun.errors import UsageError
    from lrrun.records import higher_is_better
    from lrrun.registry import unknown
    from lrrun.runlog.names import sort_key

    whole = [row for row in rows if row[1] is not None][newest]
    broken = [row for row in rows if row[1] is None]
    metrics = {name for _, summary, _ in whole if summary for name in summary.best}
    if by not in ("created", "name", "time", *metrics):
        raise UsageError("--sort: " + unknown("order", by, ("created", "name", "time", *metrics)))

    def place(row: Row) -> tuple[bool, float]:
        best = row[1].best.get(by) if row[1] else None
        if best is None:
            return True, 0.0
        return False, -best.value if higher_is_better(by) else best.value

    if by == "name":
        whole.sort(key=lambda row: sort_key(row[0].path))
    elif by == "time":
        whole.sort(key=lambda row: row[1].seconds if row[1] else 0.0)
    elif by != "created":
        whole.sort(key=place)
    return [*whole, *broken]


def _sweeps(runs_dir: Path) -> list[Overview]:
    """The sweeps; what reads them is loaded only where there are some."""
    from lrrun.runlog.names import sweep_folders

    if not sweep_folders(runs_dir):
        return []
    from lrrun.search.overview import overviews

    return overviews(runs_dir)


def _sweep_data(sweep: Overview) -> dict[str, Any]:
    from dataclasses import asdict

    return {"kind": "sweep", "status": sweep.status, "ended": sweep.ended, **asdict(sweep)}


def _as_data(run: Run | BrokenRun, summary: Summary | None, problem: str) -> dict[str, Any]:
    from lrrun.runlog.reader import BrokenRun

    if isinstance(run, BrokenRun):
        return {"kind": "run", "name": run.name, "status": "unreadable", "problem": problem}
    return {
        "kind": "run",
        "name": run.name,
        "status": run.status,
        **({"abandoned": run.abandoned} if run.status == "running" else {}),
        "sentence": run.sentence,
        "created": run.created,
        "config": run.config,
        **(vars(summary) if summary else {}),
        **({"problem": problem} if problem else {}),
    }

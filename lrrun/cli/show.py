"""`lrrun show`: one run explained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lrrun.cli.options import DEFAULT_RUNS_DIR, JsonFlag, PlotsFlag, RunsDir
from lrrun.errors import UsageError

if TYPE_CHECKING:
    from lrrun.analysis.course import Course
    from lrrun.runlog.reader import Run


def show(
    run: Annotated[
        str, typer.Argument(help="A path, a name, the beginning of one, or latest.")
    ] = "latest",
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
    plots: PlotsFlag = True,
    png: Annotated[
        Path | None,
        typer.Option("--png", help="Draw a sweep's or a search's curves into this .png or .svg."),
    ] = None,
    json_output: JsonFlag = False,
) -> None:
    """Show one run: outcome, config, epochs, curves, files; or one sweep; or what find found."""
    from lrrun.analysis.course import follow
    from lrrun.cli.sweeping import sweep_meant
    from lrrun.runlog.reader import Run, find_run

    if (sweep := sweep_meant(run, runs_dir)) is not None:
        from lrrun.cli.sweep_report import show_sweep

        show_sweep(sweep, plots, json_output, png)
        return
    opened = Run.open(find_run(run, runs_dir))
    if opened.is_search:
        from lrrun.cli.find_report import show_search

        show_search(opened, plots, json_output, png)
        return
    if png is not None:
        raise UsageError("--png draws a sweep or a search; for runs: lrrun compare RUN RUN")
    course = opened.fold_steps(follow)
    if json_output:
        from lrrun.runlog import strict_json

        print(strict_json.dumps(_as_data(opened, course)))
        return
    from lrrun.cli.run_curves import RunCurves
    from lrrun.render.comparison import print_loss_and_lr
    from lrrun.render.facts import print_findings
    from lrrun.render.headroom import print_headroom
    from lrrun.render.runs import print_files, print_run
    from lrrun.render.terminal import make_console, printable

    console = make_console()
    print_run(console, opened, course.last + 1)
    print_findings(console, _findings(opened, course))
    if plots and opened.epochs["step"].size:
        several = opened.epochs["step"].size > 1
        tabled = ("val_loss", "train_loss") if several else ("loss",)
        names = [name for name in tabled if name == "loss" or name in opened.epochs]
        curves = RunCurves.of_one(opened, course, names)
        print_loss_and_lr(console, "loss", curves.losses, curves.lrs)
        for sentence in curves.missing:
            console.print(printable(sentence), style="dim", soft_wrap=True)
    if plots:
        print_headroom(console, opened.headroom)
    print_files(console, opened.path, opened.files())


def _findings(run: Run, course: Course) -> list[str]:
    """What the run's numbers say beside its outcome; nothing of a smoke run, which is too short."""
    from lrrun.analysis.explain import at_chance
    from lrrun.analysis.headroom import explain_headroom

    if run.info.get("smoke"):
        return []
    found = list(explain_headroom(run.headroom.get("headroom", run.headroom["step"])))
    best = run.summary.best.get("val_loss")
    chance = run.info.get("chance_loss")
    if best is not None and isinstance(chance, float):
        peak = course.peak_lr if course.rows else best.lr[0]
        found += at_chance(best.value, chance, peak)
    return found


def _as_data(run: Run, course: Course) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        **run.info,
        "name": run.name,
        "path": str(run.path),
        **asdict(run.summary),
        "findings": _findings(run, course),
        "table": run.epochs,
        "headroom": run.headroom,
        "files": dict(run.files()),
    }

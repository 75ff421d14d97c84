"""`lrrun show`: one run explained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from lrrun.cli.options import DEFAULT_RUNS_DIR, JsonFlag, PlotsFlag, RunsDir

if TYPE_CHECKING:
    from lrrun.runlog.reader import Run


def show(
    run: Annotated[
        str, typer.Argument(help="A path, a name, the beginning of one, or latest.")
    ] = "latest",
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
    plots: PlotsFlag = True,
    json_output: JsonFlag = False,
) -> None:
    """Show one run: its outcome, config, epochs, loss and LR curves, and files."""
    from lrrun.runlog.reader import Run, find_run

    opened = Run.open(find_run(run, runs_dir))
    if json_output:
        from lrrun.runlog import strict_json

        print(strict_json.dumps(_as_data(opened)))
        return
    from lrrun.cli.compare import loss_curve, lr_curve
    from lrrun.render.comparison import print_loss_and_lr
    from lrrun.render.facts import print_findings
    from lrrun.render.runs import print_files, print_run
    from lrrun.render.terminal import make_console

    console = make_console()
    print_run(console, opened)
    print_findings(console, _findings(opened))
    if plots and opened.epochs["step"].size:
        several = opened.epochs["step"].size > 1
        tabled = ("val_loss", "train_loss") if several else ("loss",)
        names = [name for name in tabled if name == "loss" or name in opened.epochs]
        losses = [loss_curve(name, opened, name) for name in names]
        print_loss_and_lr(console, "loss", losses, [lr_curve("lr", opened)])
    print_files(console, opened.path, opened.files())


def _findings(run: Run) -> list[str]:
    """What the run's numbers say beside its outcome; nothing of a smoke run, which is too short."""
    from lrrun.analysis.explain import at_chance

    best = run.summary.best.get("val_loss")
    chance, lrs = run.info.get("chance_loss"), run.steps.get("lr")
    if run.info.get("smoke") or best is None or not isinstance(chance, float):
        return []
    return list(at_chance(best.value, chance, float(lrs.max()) if lrs is not None else best.lr[0]))


def _as_data(run: Run) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        **run.info,
        "name": run.name,
        "path": str(run.path),
        **asdict(run.summary),
        "findings": _findings(run),
        "table": run.epochs,
        "files": dict(run.files()),
    }

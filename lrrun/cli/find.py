"""`lrrun find`: which learning rate to train with, and how sure that is."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lrrun.cli.following import command_line, tell
from lrrun.cli.garbage import load_training
from lrrun.cli.options import (
    DEFAULT_RUNS_DIR,
    AllowCode,
    Config,
    JsonFlag,
    Overrides,
    PlotsFlag,
    RunsDir,
)

if TYPE_CHECKING:
    from lrrun.records import Notice
    from lrrun.search.finding import Finding


def find(
    config: Config,
    overrides: Overrides = None,
    low: Annotated[float, typer.Option("--from", help="Where the range test begins.")] = 1e-7,
    high: Annotated[float, typer.Option("--to", help="Where it ends, unless the loss goes.")] = 10,
    steps: Annotated[
        int | None, typer.Option("--steps", help="Updates of the range test; 100 to 200 if unsaid.")
    ] = None,
    linear: Annotated[
        bool, typer.Option("--linear", help="Raise the LR evenly instead of exponentially.")
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Stop after the range test; nothing is confirmed.")
    ] = False,
    budget: Annotated[
        float | None,
        typer.Option("--budget", help="The most that it may cost, in runs; 11 if unsaid."),
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", help="auto, cpu, cuda, cuda:1 or mps.")
    ] = None,
    png: Annotated[
        Path | None, typer.Option("--png", help="Draw the curve into this .png or .svg.")
    ] = None,
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
    plots: PlotsFlag = True,
    allow_code: AllowCode = False,
    json_output: JsonFlag = False,
) -> None:
    """Find the learning rate: a range test, read by several rules, confirmed by short real runs.

    Ends with an LR to paste, the interval of LRs that are as good, and the LR that diverges; exit
    code 8 where the curve or the runs give no answer. No later run is changed by it.
    """
    from lrrun.config.check import check_if_known
    from lrrun.config.reading import load_experiment

    settings = [*(overrides or ())]
    settings += [f"train.device={device}"] if device is not None else []
    experiment = load_experiment(config, settings, allow_code)
    check_if_known(experiment)  # before torch is loaded: a bad config is answered at once
    if png is not None:
        from lrrun.render.figures import refuse_undrawable

        refuse_undrawable(png)  # before anything is trained
    from lrrun.training.signals import StopOnSignals

    with StopOnSignals() as stop:
        load_training()
        from lrrun.search.find import Search
        from lrrun.search.find import find as look

        search = Search(
            runs_dir,
            low,
            high,
            steps,
            linear,
            budget,
            quick,
            command_line(),
            stop,
            allow_code,
        )
        finding = _follow(look(experiment, search), silent=json_output)
    if finding is None:
        tell("find was stopped; the same command goes on from what is done")
        raise typer.Exit(128 + (stop.received or 2))
    _show(finding, json_output, plots, png)


def _follow(told: Iterator[Notice | Finding], silent: bool) -> Finding | None:
    """Say what is being done, a line each, to the end; the finding, or None if interrupted."""
    from lrrun.records import Notice
    from lrrun.render.terminal import make_console, printable

    console = make_console(sys.stderr)
    for each in told:
        if not isinstance(each, Notice):
            return each
        if not silent:
            console.print(printable(each.sentence), style="dim", soft_wrap=True)
    return None


def _show(finding: Finding, json_output: bool, plots: bool, png: Path | None) -> None:
    if json_output:
        from lrrun.runlog import strict_json

        print(strict_json.dumps(finding.as_data()))
    else:
        from lrrun.render.finding import print_finding
        from lrrun.render.terminal import make_console

        print_finding(make_console(), finding, plots)
    if png is not None:
        from lrrun.render.finding import finding_figure

        finding_figure(finding, png)

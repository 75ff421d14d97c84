"""`lrrun resume`: go on with a run exactly where it stopped."""

from __future__ import annotations

from typing import Annotated

import typer

from lrrun.cli.following import as_data, exit_code, follow, run_meant
from lrrun.cli.garbage import load_training
from lrrun.cli.options import DEFAULT_RUNS_DIR, AllowCode, JsonFlag, Overrides, RunsDir


def resume(
    run: Annotated[
        str, typer.Argument(help="A path, a name, the beginning of one, or latest.")
    ] = "latest",
    overrides: Overrides = None,
    device: Annotated[
        str | None, typer.Option("--device", help="auto, cpu, cuda, cuda:1 or mps.")
    ] = None,
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
    allow_code: AllowCode = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
    json_output: JsonFlag = False,
) -> None:
    """Go on with a run from its newest good checkpoint, bit for bit, or with a sweep.

    A finished run says so.
    Keys that change what the run is are refused; lrrun fork makes another run from a checkpoint.
    """
    from lrrun.cli.sweeping import resume_sweep, sweep_meant
    from lrrun.training.signals import StopOnSignals

    if "=" in run:  # no run's name has one: resume KEY=VALUE goes on with the latest
        run, overrides = "latest", [run, *(overrides or ())]
    if (sweep := sweep_meant(run, runs_dir)) is not None:
        resume_sweep(sweep, runs_dir, overrides, allow_code, quiet, json_output)
        return
    path = run_meant(run, runs_dir)
    settings = [*(overrides or ())]
    settings += [f"train.device={device}"] if device is not None else []
    with StopOnSignals() as stop:
        load_training()
        from lrrun.training import resume as resuming

        events = resuming.resume(path, settings, allow_code=allow_code, stop=stop)
        ended = follow(events, quiet or json_output, path, lambda: stop.received)
    if json_output:
        from lrrun.runlog import strict_json

        print(strict_json.dumps(as_data(ended)))
    if code := exit_code([ended]):
        raise typer.Exit(code)

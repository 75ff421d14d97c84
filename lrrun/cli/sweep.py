"""`lrrun sweep`: many runs of one config, over the values of its keys."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lrrun.cli.options import DEFAULT_RUNS_DIR, AllowCode, JsonFlag, RunsDir


def sweep(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            help="The experiment's YAML file; then keys with their values, such as "
            "optimizer.lr=1e-4..1:log:13 scheduler=cosine,wsd seed=0..4.",
            metavar="CONFIG [KEY=VALUES]...",
        ),
    ] = None,
    random: Annotated[
        int | None, typer.Option("--random", help="Draw so many points instead of the grid.")
    ] = None,
    tpe: Annotated[
        int | None, typer.Option("--tpe", help="Let Optuna's TPE choose so many points.")
    ] = None,
    halving: Annotated[
        bool, typer.Option("--halving", help="Short runs first; the best go on to longer ones.")
    ] = False,
    hyperband: Annotated[
        bool, typer.Option("--hyperband", help="Halving from several first rungs.")
    ] = False,
    eta: Annotated[
        int | None, typer.Option("--eta", help="One of so many goes on, so many times as long.")
    ] = None,
    least: Annotated[
        float | None, typer.Option("--least", help="The shortest rung, as a share of the run.")
    ] = None,
    rungs: Annotated[
        str | None,
        typer.Option("--rungs", help="How a short run ends its schedule: rescaled or cooldown."),
    ] = None,
    draw_seed: Annotated[
        int | None, typer.Option("--draw-seed", help="The seed of what is drawn.")
    ] = None,
    trials: Annotated[
        int | None, typer.Option("--trials", help="Stop after so many trials.")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option("--minutes", help="Begin nothing new after so many minutes.")
    ] = None,
    extend: Annotated[
        str | None,
        typer.Option("--extend", help="Widen this sweep by more values of its axes; no CONFIG."),
    ] = None,
    processes: Annotated[
        int | None, typer.Option("--processes", help="Train in so many processes at a time.")
    ] = None,
    ray: Annotated[
        bool,
        typer.Option(
            "--ray",
            help="Train on Ray: a cluster's [ADDRESS] (auto, HOST:PORT) after it, or RAY_ADDRESS; "
            "else one on this machine.",
        ),
    ] = False,
    fuse: Annotated[
        bool, typer.Option("--fuse/--no-fuse", help="Train as one what may be stacked.")
    ] = True,
    reuse: Annotated[
        bool, typer.Option("--reuse", help="Take the result of an identical run that is there.")
    ] = False,
    new: Annotated[
        bool, typer.Option("--new", help="Begin anew, even where the same sweep is there.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan and its cost; train nothing.")
    ] = False,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="A few steps of every trial, in seconds.")
    ] = False,
    device: Annotated[
        str | None, typer.Option("--device", help="auto, cpu, cuda, cuda:1 or mps.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="The beginning of the sweep folder's name.")
    ] = None,
    png: Annotated[
        Path | None, typer.Option("--png", help="Draw the curves into this .png or .svg.")
    ] = None,
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
    allow_code: AllowCode = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
    json_output: JsonFlag = False,
) -> None:
    """Train a config over the values of its keys; exit code 1 if a trial failed.

    The same command goes on with a sweep that was stopped. A trial that diverges is a result.
    """
    from lrrun.cli.sweeping import Call, carry_out, open_sweep

    options = {
        "random": random,
        "tpe": tpe,
        "halving": halving or None,
        "hyperband": hyperband or None,
        "eta": eta,
        "least": least,
        "rungs": rungs,
        "seed": draw_seed,
        "trials": trials,
        "minutes": minutes,
    }
    settings = [f"train.device={device}"] if device is not None else []
    call = Call(
        runs_dir=runs_dir,
        options={key: value for key, value in options.items() if value is not None},
        settings=settings,
        name=name,
        processes=processes,
        ray=ray,
        fuse=fuse,
        reuse=reuse,
        new=new,
        smoke=smoke,
        allow_code=allow_code,
        silent=quiet or json_output,
    )
    if png is not None:
        from lrrun.render.figures import refuse_undrawable

        refuse_undrawable(png)  # before anything is trained
    carry_out(open_sweep(call, arguments or [], extend), dry_run, json_output, png)

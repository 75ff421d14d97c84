"""`lrrun fork`: a new run that begins where another one stood."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lrrun.cli.following import as_data, command_line, exit_code, follow, run_meant
from lrrun.cli.garbage import load_training
from lrrun.cli.options import DEFAULT_RUNS_DIR, AllowCode, JsonFlag, Overrides, RunsDir
from lrrun.errors import UsageError

if TYPE_CHECKING:
    from lrrun.training.fork import Fork
    from lrrun.units import Length


def fork(
    run: Annotated[str, typer.Argument(help="A path, a name, the beginning of one, or latest.")],
    overrides: Overrides = None,
    at: Annotated[
        str, typer.Option("--at", help="A step, a length such as '10 epochs', best, or last.")
    ] = "last",
    extend: Annotated[
        str | None,
        typer.Option("--extend", help="Make the run longer by this: '10 epochs', '500 steps'."),
    ] = None,
    how: Annotated[
        str,
        typer.Option(
            "--how",
            help="How the schedule continues: keep (its last value is held), rescale (all of it is "
            "stretched), branch (scheduler=... takes over at the fork; by default linear to 0).",
        ),
    ] = "keep",
    fresh_optimizer: Annotated[
        bool, typer.Option("--fresh-optimizer", help="Forget the optimizer's moments.")
    ] = False,
    name: Annotated[
        str | None, typer.Option("--name", help="The beginning of the new run folder's name.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the new curve beside the old; write nothing.")
    ] = False,
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
    allow_code: AllowCode = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
    json_output: JsonFlag = False,
) -> None:
    """Begin a new run from a step of another, with other keys: a schedule, a horizon, an optimizer.

    Until something differs it is the parent bit for bit. The parent is only read.
    """
    from lrrun.training.signals import StopOnSignals

    longer = _length(extend)
    if how not in ("keep", "rescale", "branch"):
        raise UsageError(f"--how {how}: expected keep, rescale or branch")
    path = run_meant(run, runs_dir)
    settings = [*(overrides or ())]
    settings += [f'name="{name}"'] if name is not None else []
    with StopOnSignals() as stop:
        load_training()
        from lrrun.training import fork as forking

        made = forking.fork(
            path,
            at,
            settings,
            extend=longer,
            how=how,  # type: ignore[arg-type]
            fresh_optimizer=fresh_optimizer,
            allow_code=allow_code,
        )
        if dry_run or (longer is not None and not (quiet or json_output)):
            _print_curves(made)
        if dry_run:
            return
        events = made.events(runs_dir, command_line(), stop)
        ended = follow(events, quiet or json_output, path, lambda: stop.received)
    if json_output:
        from lrrun.runlog import strict_json

        print(strict_json.dumps(as_data(ended)))
    if code := exit_code([ended]):
        raise typer.Exit(code)


def _length(written: str | None) -> Length | None:
    from lrrun.units import Length

    try:
        return None if written is None else Length.parse(written)
    except ValueError as error:
        raise UsageError(f"--extend {written}: {error}") from None


def _print_curves(made: Fork) -> None:
    """The parent's LR curve and the fork's, each over its whole run."""
    from lrrun.render.schedules import print_previews
    from lrrun.render.terminal import make_console
    from lrrun.schedules.preview import preview
    from lrrun.schedules.spec import build

    curves = []
    for name, each in ((made.parent.name, made.before), ("fork", made.prepared)):
        units, experiment = each.clock.units, each.experiment
        planned = build(experiment.parts, experiment.base_lr, units)
        curves.append(preview(name, planned, units.total_steps, units.steps_per_epoch))
    last = min(len(each.lr) for each in curves) - 1
    points = {f"step {min(made.step, last)}": min(made.step, last)}
    print_previews(make_console(), curves, [points, points])

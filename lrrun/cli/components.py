"""`lrrun components`: everything that a config can name."""

from __future__ import annotations

from typing import Annotated

import typer

from lrrun.cli.options import JsonFlag

KINDS = ("model", "dataset", "optimizer", "scheduler")


def components(
    kind: Annotated[
        str | None, typer.Argument(help="One of model, dataset, optimizer, scheduler.")
    ] = None,
    library: Annotated[
        bool, typer.Option("--all", help="Also the schedules of other libraries.")
    ] = False,
    json_output: JsonFlag = False,
) -> None:
    """List the models, datasets, optimizers and schedulers that a config can name."""
    from lrrun.config.catalogue import catalogue
    from lrrun.errors import UsageError
    from lrrun.registry import unknown

    if kind is not None and kind not in KINDS:
        raise UsageError(unknown("kind of component", kind, KINDS))
    kinds = catalogue(dialects=library)
    shown = {each: rows for each, rows in kinds.items() if kind in (None, each)}
    if json_output:
        from lrrun.runlog import strict_json

        keys = ("name", "parameters", "summary")
        data = {
            each: [dict(zip(keys, row, strict=True)) for row in rows]
            for each, rows in shown.items()
        }
        print(strict_json.dumps(data))
        return
    from lrrun.render.tables import print_components
    from lrrun.render.terminal import make_console

    print_components(make_console(), shown)

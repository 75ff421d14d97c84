"""`lrrun components`: everything that a config can name, or one of these explained."""

from __future__ import annotations

from typing import Annotated

import typer

from lrrun.cli.options import JsonFlag

KINDS = ("model", "dataset", "optimizer", "scheduler")


def components(
    name: Annotated[
        str | None,
        typer.Argument(
            help="A kind (model, dataset, optimizer, scheduler), or what is to be explained: a "
            "component such as wsd, or a section: train, checkpoint, sweep."
        ),
    ] = None,
    library: Annotated[
        bool, typer.Option("--all", help="Also the schedules of other libraries.")
    ] = False,
    json_output: JsonFlag = False,
) -> None:
    """List the models, datasets, optimizers and schedulers that a config can name; or explain one.

    `lrrun components wsd` tells what wsd is and what each of its keys means.
    """
    from lrrun.config.catalogue import catalogue

    kind = (name or "").removesuffix("s")
    if name is not None and kind not in KINDS:
        _explain(name, json_output)
        return
    shown = {each: rows for each, rows in catalogue(dialects=library).items() if kind in ("", each)}
    if "scheduler" in shown:
        from lrrun.render.gallery import in_order

        rows = {row[0]: row for row in shown["scheduler"]}
        shown["scheduler"] = [rows[each] for each in in_order(rows)]
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


def _explain(name: str, json_output: bool) -> None:
    """One component, or one section, with its keys."""
    from dataclasses import asdict

    from lrrun.config.explained import explain

    explained = explain(name)
    if json_output:
        from lrrun.runlog import strict_json

        print(strict_json.dumps(asdict(explained)))
        return
    from lrrun.render.explained import print_explained
    from lrrun.render.terminal import make_console

    print_explained(make_console(), explained)

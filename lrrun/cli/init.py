"""`lrrun init`: a commented, working config to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def init(
    template: Annotated[str, typer.Argument(help="Which config to write; see --list.")] = "digits",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file; TEMPLATE.yaml by default.")
    ] = None,
    list_templates: Annotated[
        bool, typer.Option("--list", help="List the templates and what they are for.")
    ] = False,
) -> None:
    """Write a commented config that trains as it is; csv needs your table beside it."""
    from lrrun.config.templates import summaries, template_text
    from lrrun.render.facts import print_facts
    from lrrun.render.terminal import make_console, printable

    console = make_console()
    if list_templates:
        print_facts(console, "lrrun init TEMPLATE", summaries())
        return
    text = template_text(template)
    file = output or Path(f"{template}.yaml")
    import shlex

    from lrrun.errors import UsageError
    from lrrun.runlog import files

    if not files.write_new_text(file, text):
        raise UsageError(f"{file} exists; choose another name with --output")
    typed = shlex.quote(str(file))
    console.print(
        printable(f"{file} written. Next: lrrun check {typed}, then lrrun train {typed}"),
        soft_wrap=True,
    )

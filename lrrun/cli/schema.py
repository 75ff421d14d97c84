"""`lrrun schema`: the JSON Schema of a config, for editors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def schema(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write it to a file instead.")
    ] = None,
) -> None:
    """Print the JSON Schema of a config.

    Point an editor at it with a config's first line:
    `# yaml-language-server: $schema=lrrun.schema.json`.
    """
    from lrrun.config.schema import json_schema
    from lrrun.runlog import files, strict_json

    text = strict_json.dumps(json_schema())
    if output is None:
        print(text)
    else:
        files.write_text(output, text + "\n")

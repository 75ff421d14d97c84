"""Options that several commands share, said once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RunsDir = Annotated[
    Path,
    typer.Option(
        "--runs-dir", envvar="LRRUN_RUNS_DIR", help="The folder that holds the runs.", metavar="DIR"
    ),
]
JsonFlag = Annotated[
    bool, typer.Option("--json", help="Print JSON (nan and infinity as null) instead of text.")
]
PlotsFlag = Annotated[bool, typer.Option("--plots/--no-plots", help="Draw the curves.")]

DEFAULT_RUNS_DIR = Path("runs")

Config = Annotated[Path, typer.Argument(help="The experiment's YAML file.", metavar="CONFIG")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(help="Keys to set, such as optimizer.lr=0.01.", metavar="[KEY=VALUE]..."),
]
Strict = Annotated[
    bool, typer.Option("--strict", help="Treat findings about the schedule as errors.")
]
AllowCode = Annotated[
    bool,
    typer.Option("--allow-code", help="Let import paths in the config import and run code."),
]

"""`lrrun verify`: is the record of a run true?"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from lrrun.cli.following import run_meant
from lrrun.cli.garbage import load_training
from lrrun.cli.options import DEFAULT_RUNS_DIR, AllowCode, JsonFlag, RunsDir
from lrrun.errors import Exit


def verify(
    run: Annotated[
        str, typer.Argument(help="A path, a name, the beginning of one, or latest.")
    ] = "latest",
    since: Annotated[
        int | None,
        typer.Option("--from", min=0, help="Replay from the checkpoint at or before this step."),
    ] = None,
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
    allow_code: AllowCode = False,
    json_output: JsonFlag = False,
) -> None:
    """Replay a run from a checkpoint, in memory, and compare it with its record bit for bit.

    By default from the checkpoint before the last; --from 0 replays all of it. Says the first
    thing that differs, with exit code 3.
    """
    from dataclasses import asdict

    from lrrun.render.terminal import make_console, printable
    from lrrun.runlog import strict_json

    load_training()
    from lrrun.training import verify as verifying

    console = make_console(sys.stderr)
    difference = None
    for event in verifying.verify(run_meant(run, runs_dir), since, allow_code=allow_code):
        if not isinstance(event, verifying.Verdict):
            console.print(f"lrrun: {printable(event.sentence)}", soft_wrap=True, markup=False)
            continue
        difference = event.difference
        if json_output:
            print(strict_json.dumps(asdict(event)))
        elif difference is None:
            print(
                f"equal, bit for bit: steps {event.first} to {event.last}; {event.steps} updates "
                f"(batches, LRs, losses), {event.rows} epoch rows, {event.tensors} tensors of "
                "weights, and the optimizer's and every other state"
            )
        else:
            print(printable(f"different: {difference}"))
    if difference is not None:
        raise typer.Exit(int(Exit.UNUSABLE_FILE))

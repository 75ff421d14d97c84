"""What train, resume and fork share: following a run to its end, and the exit code for that."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrrun.errors import Exit
from lrrun.records import Notice, Outcome

if TYPE_CHECKING:
    from lrrun.training.journey import Event


@dataclass(frozen=True)
class Ended:
    """A run that was followed: its folder, how it ended, and the signal that had come in."""

    path: Path
    outcome: Outcome
    signal: int | None


def follow(events: Iterable[Event], silent: bool, path: Path, received: Any) -> Ended:
    """Draw a run until it ends; `received` asks for the signal that came in, if any.

    Notices go to standard error, however silent the rest is to be.
    """
    from lrrun.render.progress import watch
    from lrrun.training.journey import Started

    outcome = Outcome("failed", "", 0)
    told = _tell_notices(events)
    for event in told if silent else watch(told):
        if isinstance(event, Started):
            path = event.path
        elif isinstance(event, Outcome):
            outcome = event
    return Ended(path, outcome, received())


def _tell_notices(events: Iterable[Event]) -> Iterator[Event]:
    from lrrun.render.terminal import make_console, printable

    console = make_console(sys.stderr)
    for event in events:
        if isinstance(event, Notice):
            console.print(f"lrrun: {printable(event.sentence)}", soft_wrap=True, markup=False)
        else:
            yield event


def command_line() -> str:
    """The command as somebody would type it again."""
    import shlex

    return shlex.join(["lrrun", *sys.argv[1:]])


def as_data(ended: Ended) -> dict[str, Any]:
    """The run's record, for --json."""
    from lrrun.runlog.reader import Run

    run = Run.open(ended.path)
    return {**run.info, "path": str(ended.path), "status": ended.outcome.status}


def exit_code(runs: Iterable[Ended]) -> int:
    """What the worst of the runs asks for."""
    runs = list(runs)
    for run in runs:
        if run.outcome.status == "interrupted" and run.signal is not None:
            return 128 + run.signal
    statuses = {run.outcome.status for run in runs}
    return int(Exit.DIVERGED) if "diverged" in statuses else int(Exit.DONE)

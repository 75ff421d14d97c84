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


def follow_many(
    events: Iterable[tuple[int, Event]], silent: bool, received: Any
) -> tuple[list[Ended], list[str]]:
    """Draw runs that train at once until all have ended; those, and why others could not begin."""
    from lrrun.render.progress_many import watch_many
    from lrrun.training.journey import Started

    paths: dict[int, Path] = {}
    ended: dict[int, Ended] = {}
    failures: list[str] = []
    told = _numbered_notices(events)
    for index, event in told if silent else watch_many(told):
        if isinstance(event, Started):
            paths[index] = event.path
        elif isinstance(event, Outcome) and index in paths:
            ended[index] = Ended(paths[index], event, received())
        elif isinstance(event, Outcome) and event.status == "failed":
            failures.append(event.sentence)
    return [ended[index] for index in sorted(ended)], failures


def _numbered_notices(events: Iterable[tuple[int, Event]]) -> Iterator[tuple[int, Event]]:
    for index, event in events:
        yield from ((index, each) for each in _tell_notices([event]))


def _tell_notices(events: Iterable[Event]) -> Iterator[Event]:
    for event in events:
        if isinstance(event, Notice):
            tell(event.sentence)
        else:
            yield event


def tell(sentence: str) -> None:
    """Say something on standard error, however silent the rest is to be."""
    from lrrun.render.terminal import make_console, printable

    console = make_console(sys.stderr)
    console.print(f"lrrun: {printable(sentence)}", soft_wrap=True, markup=False)


def command_line() -> str:
    """The command as somebody would type it again."""
    import shlex

    return shlex.join(["lrrun", *sys.argv[1:]])


def run_meant(reference: str, runs_dir: Path) -> Path:
    """The run that a command goes on with; the range test of a search is none.

    `latest` passes over searches; one that is named is refused with the command that goes on
    with it.
    """
    from lrrun.errors import UsageError
    from lrrun.runlog.names import unknown_run
    from lrrun.runlog.reader import Run, find_run, list_runs

    if reference == "latest":
        runs = [each for each in list_runs(runs_dir) if isinstance(each, Run)]
        paths = [each.path for each in runs if not each.is_search]
        if not paths:
            raise unknown_run(reference, runs_dir)
        return paths[-1]
    path = find_run(reference, runs_dir)
    run = Run.open(path)
    if run.is_search:
        command = run.info.get("command") or "lrrun find CONFIG"
        raise UsageError(
            f"{path} is a search for a learning rate, not a run: `lrrun show {path}` tells what "
            f"it found, `{command}` goes on with one that was stopped"
        )
    return path


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
    if "failed" in statuses:
        return int(Exit.PARTLY_FAILED)
    return int(Exit.DIVERGED) if "diverged" in statuses else int(Exit.DONE)

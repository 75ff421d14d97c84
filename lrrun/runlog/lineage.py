"""Where forked runs come from: the runs that they were forked from, as far as they share them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from lrrun.errors import UnusableFile
from lrrun.registry import is_run_name
from lrrun.runlog.reader import Run


@dataclass(frozen=True)
class Trunk:
    """The beginning of a fork: the first `steps` updates of `run`."""

    run: Run
    steps: int


@dataclass(frozen=True)
class _Origin:
    """What run.json says of the run that its own was forked from, after `step` updates."""

    name: str
    id: str
    step: int


def trunks(runs: Iterable[Run]) -> tuple[list[Trunk], list[str]]:
    """What forks among `runs` have before their own first step, and what of it is not to be found.

    A trunk that several share comes once, as long as the longest of them needs it; one that is
    itself a fork has its own trunk after it; one that is among `runs` is left out. A run that was
    forked from is looked for beside its fork, under its name, and known by its id.
    """
    waiting = list(runs)
    given = {run.info.get("id") for run in waiting}
    found: dict[str, Trunk] = {}
    missing = []
    for run in waiting:  # it grows on the way
        origin = _origin(run)
        if origin is None or origin.id in given:
            continue
        known = found.get(origin.id)
        if known is not None:
            found[origin.id] = replace(known, steps=max(known.steps, origin.step))
        elif (parent := _beside(run, origin)) is not None:
            found[origin.id] = Trunk(parent, origin.step)
            waiting.append(parent)
        else:
            missing.append(
                f"{run.name} was forked from {origin.name}, which is not beside it: its first "
                f"{origin.step} steps are not drawn"
            )
    return list(found.values()), missing


def _origin(run: Run) -> _Origin | None:
    match run.info.get("parent"):
        case {"run": str(name), "id": str(identity), "step": int(step)}:
            return _Origin(name, identity, step)
    return None


def _beside(run: Run, origin: _Origin) -> Run | None:
    """The run in the folder beside `run` that has the origin's name and id, if there is one."""
    folder = run.path.resolve().parent / origin.name
    if not is_run_name(origin.name) or folder.is_symlink():
        return None
    try:
        parent = Run.open(folder)
    except UnusableFile:
        return None
    return parent if parent.info.get("id") == origin.id else None

"""Which sweep of a runs' folder is meant: by its plan, or by what a person calls it."""

from __future__ import annotations

import re
from pathlib import Path

from lrrun.errors import LrrunError, UsageError
from lrrun.registry import nearest
from lrrun.runlog.names import sweep_folders
from lrrun.runlog.sweeps import read_plan
from lrrun.search.plan import Plan


def find_same(plan: Plan, runs_dir: Path) -> Path | None:
    """The newest sweep in `runs_dir` that was begun by the same command on the same config."""
    mark = re.compile(f"^identity: ['\"]?{plan.identity}['\"]?$", re.MULTILINE)
    for folder in reversed(sweep_folders(runs_dir)):
        try:
            text = read_plan(folder)
        except LrrunError:
            continue
        if mark.search(text):
            return folder
    return None


def find_sweep(reference: str, runs_dir: Path) -> Path:
    """The folder of the sweep that `reference` means: a path, a name, or a unique prefix of one."""
    folders = sweep_folders(runs_dir)
    for path in (Path(reference), runs_dir / reference):
        if reference and (path / "sweep.yaml").is_file():
            return path
    if reference == "latest" and folders:
        return max(folders, key=lambda each: Plan.read(each).created)
    matching = [each for each in folders if each.name.startswith(reference)]
    if len(matching) == 1:
        return matching[0]
    names = [each.name for each in folders]
    match = nearest(reference, names)
    hint = f"; did you mean {match}?" if match else ""
    which = "several sweeps begin with" if matching else "no sweep"
    raise UsageError(
        f"{which} {reference!r} in {str(runs_dir)!r}{hint} "
        f"({', '.join(each.name for each in matching or folders[:8]) or 'there are none'})"
    )

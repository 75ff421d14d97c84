"""The runs of a comparison: found, opened, and told which of them are the baseline."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from lrrun.errors import UsageError

if TYPE_CHECKING:
    from lrrun.analysis.compare import Comparison, RunView
    from lrrun.analysis.course import Course
    from lrrun.runlog.reader import Run


@dataclass(frozen=True)
class Opened:
    """Runs by name, or by path where two share a name; `baseline` holds indices into them."""

    runs: dict[str, Run]
    baseline: frozenset[int]

    def views(self) -> list[RunView]:
        """What a comparison needs of them."""
        return [_view(name, run) for name, run in self.runs.items()]


def open_runs(
    references: Sequence[str], baseline: Sequence[str], runs_dir: Path, fewest: int
) -> Opened:
    """Open the runs and those of the baseline; refuses fewer than `fewest`, or one named twice.

    Sweeps and searches, which `runs/*` names as well, are passed over, and that is said. A run that
    is named again as part of the baseline is that.
    """
    from lrrun.runlog.reader import Run, find_run

    _refuse_few(len(references) + len(baseline), fewest)
    places: dict[tuple[int, int], tuple[str, int]] = {}
    opened: list[Run] = []
    for reference in references:
        if _is_sweep(reference, runs_dir):
            continue
        folder = find_run(reference, runs_dir)
        run = Run.open(folder)
        if _is_search(run):
            continue
        earlier, _ = places.setdefault(_identity(folder), (reference, len(opened)))
        if len(places) == len(opened):
            raise UsageError(f"{earlier!r} and {reference!r} are one run: {str(folder)!r}")
        opened.append(run)
    behind = set[int]()
    for folder in (each for text in baseline for each in _baseline_folders(text, runs_dir)):
        run = Run.open(folder)
        if _is_search(run):
            continue
        _, index = places.setdefault(_identity(folder), (str(folder), len(opened)))
        opened += [run] if index == len(opened) else []
        behind.add(index)
    _refuse_few(len(opened), fewest)
    if behind and len(behind) == len(opened):
        raise UsageError("compare needs a run beside those of the baseline, and got none")
    names = Counter(run.name for run in opened)
    found = {run.name if names[run.name] == 1 else str(run.path): run for run in opened}
    return Opened(found, frozenset(behind))


def _refuse_few(number: int, fewest: int) -> None:
    if number < fewest:
        needs = "two runs or more" if fewest > 1 else "a run"
        raise UsageError(
            f"compare needs {needs}, got {number}; `lrrun list` names them, "
            "`lrrun show RUN` explains one"
        )


def _identity(folder: Path) -> tuple[int, int]:
    """Equal for two names of one folder; to resolve thousands of them takes a second."""
    found = folder.stat()
    return found.st_dev, found.st_ino


def _is_sweep(reference: str, runs_dir: Path) -> bool:
    from lrrun.cli.following import tell
    from lrrun.runlog.names import SWEEP

    paths = (Path(reference), runs_dir / reference)
    sweep = next((path for path in paths if (path / SWEEP).is_file()), None)
    if sweep is not None:
        tell(f"{sweep} is a sweep and was left out; its runs: {sweep}/trial-*")
    return sweep is not None


def _is_search(run: Run) -> bool:
    from lrrun.cli.following import tell

    search = run.is_search
    if search:
        tell(f"{run.path} is a search for a learning rate and was left out")
    return search


def _baseline_folders(text: str, runs_dir: Path) -> list[Path]:
    """The run that `text` means, those whose names match its `*`, or those in the folder it is."""
    from lrrun.runlog.names import run_folders
    from lrrun.runlog.reader import find_run

    if "*" in text:
        folder = Path(text).parent if os.sep in text else runs_dir
        names = Path(text).name
        found = [each for each in run_folders(folder) if fnmatchcase(each.name, names)]
        if not found:
            raise UsageError(f"--baseline {text!r}: no run is called so in {str(folder)!r}")
        return found
    for path in (Path(text), runs_dir / text):
        if path.is_dir() and not (path / "run.json").exists() and (found := run_folders(path)):
            return found
    return [find_run(text, runs_dir)]


def _view(name: str, run: Run) -> RunView:
    from lrrun.analysis.compare import RunView

    gone = "its process is gone; lrrun resume goes on with it" if run.abandoned else ""
    return RunView(name, run.status, run.sentence or gone, run.config, run.summary)


def courses_of(runs: Sequence[Run], indices: Iterable[int]) -> dict[int, Course]:
    """The steps of the runs at `indices`: of thousands, no more are read than are shown."""
    from lrrun.analysis.course import follow

    return {index: runs[index].fold_steps(follow) for index in sorted(indices)}


def with_lr_sums(comparison: Comparison, courses: dict[int, Course]) -> Comparison:
    """The comparison, with what the courses tell of the LRs."""
    from dataclasses import replace

    runs = list(comparison.runs)
    for index, course in courses.items():
        runs[index] = replace(runs[index], lr_sum=course.lr_sum(runs[index].summary.steps))
    return replace(comparison, runs=tuple(runs))

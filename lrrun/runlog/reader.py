"""Reading run folders: nothing is executed, nothing is written, no link is followed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from lrrun.errors import LrrunError, UnusableFile
from lrrun.records import Status
from lrrun.runlog.columns import EPOCH_COLUMNS, HEADROOM, STEP_COLUMNS, TIMING_COLUMNS
from lrrun.runlog.info import FILE_NAME, read_info
from lrrun.runlog.lock import is_abandoned
from lrrun.runlog.log import Mark
from lrrun.runlog.names import SEARCH, match_run, run_folders, sort_key, unknown_run
from lrrun.runlog.summary import Summary, summarize
from lrrun.runlog.table import Floats, Table, join_blocks, read_blocks

T = TypeVar("T")


@dataclass(frozen=True)
class Run:
    """A run folder as it is now; `info` is run.json, the tables are read when asked for.

    A table is a dict of float64 columns; an empty cell is nan. Reading one raises UnusableFile with
    `file:line` where a row is broken. A run that still grows, or whose process died, has the status
    `running` and the rows written so far.
    """

    path: Path
    info: Mapping[str, Any]

    @classmethod
    def open(cls, path: Path) -> Run:
        """Read run.json and check it; raises UnusableFile where it is missing or broken."""
        return cls(path, read_info(path))

    @property
    def name(self) -> str:
        """The folder's name: a run that is copied or moved keeps all that belongs to it."""
        name = self.path.name
        return name if name.strip(".") else self.path.resolve().name  # of "." and ".."

    @property
    def status(self) -> Status:
        """How the run ended, or `running`."""
        status: Status = self.info["status"]
        return status

    @cached_property
    def abandoned(self) -> bool:
        """Does it say `running`, but looks as if its process were gone?"""
        if self.status != "running" or not is_abandoned(self.path):
            return False
        try:
            return read_info(self.path) == self.info  # else it has just ended, or was resumed
        except UnusableFile:
            return False

    @property
    def sentence(self) -> str:
        """Why it ended so."""
        return str(self.info.get("sentence", ""))

    @property
    def config(self) -> Mapping[str, Any]:
        """The resolved config, as plain data."""
        config: Mapping[str, Any] = self.info["config"]
        return config

    @property
    def is_search(self) -> bool:
        """Is it the range test of a search, which has more in its folder than a run?"""
        return isinstance(self.info.get("range_test"), Mapping) or (self.path / SEARCH).is_file()

    @property
    def created(self) -> str:
        """When the run was made: UTC, ISO 8601."""
        return str(self.info["created"])

    @cached_property
    def _epochs(self) -> Table:
        return self._table("epochs.csv", EPOCH_COLUMNS)

    @cached_property
    def _steps(self) -> Table:
        return self._table("steps.csv", STEP_COLUMNS)

    @cached_property
    def _timing(self) -> Table:
        return self._table("timing.csv", TIMING_COLUMNS)

    def _table(self, name: str, columns: tuple[str, ...]) -> Table:
        return self._fold(name, columns, join_blocks)

    def fold_steps(self, fold: Callable[[Iterator[Mapping[str, Floats]]], T]) -> T:
        """What `fold` makes of steps.csv, a block of its columns at a time: for logs of any length.

        It is called again, from the first block, where the run was resumed while we looked.
        """
        return self._fold(
            "steps.csv", STEP_COLUMNS, lambda blocks: fold(block.columns for block in blocks)
        )

    def _fold(self, name: str, columns: tuple[str, ...], fold: Callable[[Iterator[Table]], T]) -> T:
        """Read a table; once the run has ended, it must be what run.json says was written."""
        try:
            return fold(read_blocks(self.path / name, columns, self._end_of(name)))
        except UnusableFile:
            if read_info(self.path) == self.info:
                raise
        return fold(read_blocks(self.path / name, columns))  # the run was resumed while we looked

    def _end_of(self, name: str) -> Mark | None:
        if "tables" not in self.info:
            return None
        try:
            return Mark.of(self.info["tables"][name])
        except (ValueError, TypeError, KeyError) as error:
            raise UnusableFile(f"{self.path / FILE_NAME}:1: tables: {error!r}") from None

    @property
    def epochs(self) -> dict[str, Floats]:
        """The columns of epochs.csv."""
        return self._epochs.columns

    @property
    def steps(self) -> dict[str, Floats]:
        """The columns of steps.csv."""
        return self._steps.columns

    @property
    def timing(self) -> dict[str, Floats]:
        """The columns of timing.csv."""
        return self._timing.columns

    @cached_property
    def headroom(self) -> dict[str, Floats]:
        """The columns of headroom.csv; without rows where the run was not gauged."""
        if HEADROOM not in self.info.get("tables", (HEADROOM,)):
            return {name: np.empty(0) for name in STEP_COLUMNS}
        return self._table(HEADROOM, STEP_COLUMNS).columns

    @property
    def torn(self) -> tuple[str, ...]:
        """The tables whose last line is unfinished (and left out), of those that have been read."""
        tables = {"epochs": "_epochs", "steps": "_steps", "timing": "_timing"}
        read = {name: self.__dict__.get(key) for name, key in tables.items()}
        return tuple(f"{name}.csv" for name, table in read.items() if table and table.torn)

    def files(self) -> list[tuple[str, int]]:
        """(path in the folder, bytes) of every plain file, two levels deep at most, by path."""
        paths = [*self.path.glob("*"), *self.path.glob("*/*")]
        plain = [path for path in paths if path.is_file() and not _is_linked(path, self.path)]
        return sorted(
            (path.relative_to(self.path).as_posix(), path.stat().st_size) for path in plain
        )

    @cached_property
    def summary(self) -> Summary:
        """Best and last metrics: from run.json once the run has ended, else from the tables."""
        if "best" not in self.info:
            return summarize(self.epochs, self.timing)
        try:
            kept = Summary.from_info(self.info)
            done = self.info.get("step")  # past the last row where an epoch was cut short
            return replace(kept, steps=max(kept.steps, done)) if isinstance(done, int) else kept
        except ValueError as error:
            raise UnusableFile(f"{self.path / FILE_NAME}:1: {error}") from error


@dataclass(frozen=True)
class BrokenRun:
    """A folder that should be a run and cannot be read as one, with the reason."""

    path: Path
    problem: str

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name


def list_runs(runs_dir: Path) -> list[Run | BrokenRun]:
    """Every run in `runs_dir`, the oldest first; one that is broken never hides the others.

    Broken ones come last, by name. Raises UnusableFile where the folder itself cannot be read.
    """
    whole: list[Run] = []
    broken: list[Run | BrokenRun] = []
    for folder in run_folders(runs_dir):
        try:
            whole.append(Run.open(folder))
        except LrrunError as error:
            broken.append(BrokenRun(folder, str(error)))
    return [*sorted(whole, key=_by_age), *broken]


def find_run(reference: str, runs_dir: Path) -> Path:
    """The folder that `reference` means: a path, a name, `latest`, or a unique prefix of a name.

    Raises UsageError where no run or several match, UnusableFile where a link is in the way.
    """
    if reference == "latest":
        runs = [run for run in list_runs(runs_dir) if isinstance(run, Run)]
        if not runs:
            raise unknown_run(reference, runs_dir)
        return runs[-1].path
    found = match_run(reference, runs_dir)
    if found is None:
        raise unknown_run(reference, runs_dir)
    return found


def _is_linked(path: Path, folder: Path) -> bool:
    return path.is_symlink() or (path.parent != folder and path.parent.is_symlink())


def _by_age(run: Run) -> tuple[str, tuple[str, int]]:
    return run.created, sort_key(run.path)

"""A sweep's folder: sweep.yaml, what was planned; trials.csv, a row for every trial that has ended.

    runs/<name>-<n>/
      sweep.yaml     the plan: axes, method, chunks; replaced whole when the plan grows
      trials.csv     trial, a column an axis, status, sentence, metrics, steps, folder
      trial-0001-1/  the trials' runs, ordinary run folders

While the sweep runs, rows stand in the order in which trials ended; once it is finished, by number.
A row that a power cut takes is written again from its run, which is on the disk before it.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from lrrun.errors import UnusableFile
from lrrun.runlog import files, lock
from lrrun.runlog.lock import RunLock
from lrrun.runlog.log import Log
from lrrun.runlog.names import create_run_folder

PLAN = "sweep.yaml"
TABLE = "trials.csv"

_FIRST, _LAST = ("trial",), ("steps", "folder")
_ENDED = ("status", "sentence")
_LIMIT_BYTES = 64 << 20


@dataclass(frozen=True)
class Row:
    """A trial that has ended, as trials.csv has it.

    `values` are the cells of the axes; `metrics` the last and best metrics of the run, nan where
    there are none; `folder` is where the run lies, seen from the sweep's folder, or empty.
    """

    trial: int
    values: Mapping[str, str]
    status: str
    sentence: str
    metrics: Mapping[str, float]
    steps: int
    folder: str


class SweepWriter:
    """The one writer of a sweep's folder; it holds the folder's lock until it is closed."""

    def __init__(
        self, path: Path, lock: RunLock, axes: Sequence[str], metrics: Sequence[str]
    ) -> None:
        self.path = path
        self._lock = lock
        self._header = _line((*_FIRST, *axes, *_ENDED, *metrics, *_LAST))
        self._axes, self._metrics = tuple(axes), tuple(metrics)
        self.rows: dict[int, Row] = {}
        self._log: Log | None = None

    @classmethod
    def create(
        cls, runs_dir: Path, name: str, plan: str, axes: Sequence[str], metrics: Sequence[str]
    ) -> SweepWriter:
        """Reserve `runs_dir/<name>-<n>` and write the plan; sweep.yaml comes last."""
        path = create_run_folder(runs_dir, name)
        try:
            lock = RunLock(path)
            try:
                writer = cls(path, lock, axes, metrics)
                files.write_text(path / TABLE, writer._header)
                files.write_text(path / PLAN, plan)
                writer._log = Log(path / TABLE)
            except BaseException:
                lock.release()
                raise
        except BaseException:
            files.remove_new_folder(path)
            raise
        return writer

    @classmethod
    def reopen(
        cls, path: Path, axes: Sequence[str], metrics: Sequence[str], retry_from: int = 1
    ) -> SweepWriter:
        """Go on with a sweep: its rows, but for trials that failed, which are tried again.

        Failures of trials before number `retry_from` stay.
        Raises RunBusy where another process writes it, UnusableFile for a broken table.
        """
        lock = RunLock(path)
        try:
            writer = cls(path, lock, axes, metrics)
            files.remove_temporaries(path)
            writer.rows = {
                row.trial: row
                for row in read_rows(path)
                if row.status != "failed" or row.trial < retry_from
            }
            writer._rewrite()
            return writer
        except BaseException:
            lock.release()
            raise

    def write(self, row: Row) -> None:
        """Add the row of a trial that has ended; `plan` and `finish` wait for it."""
        self._table.append(self._text(row))
        self.rows[row.trial] = row

    def plan(self, text: str) -> None:
        """Replace the plan; the rows that it was made from are on the disk before it."""
        self._table.sync()
        files.write_text(self.path / PLAN, text)

    def finish(self) -> None:
        """Bring the rows into the order of their numbers: equal sweeps leave equal tables.

        They are all on the disk when this returns.
        """
        if list(self.rows) != sorted(self.rows):
            self.rows = {number: self.rows[number] for number in sorted(self.rows)}
            self._rewrite()
        else:
            self._table.sync()

    def close(self) -> None:
        """Give file and lock back; a second call does nothing."""
        try:
            if self._log is not None:
                self._log.close()
        finally:
            self._log = None
            self._lock.release()

    @property
    def _table(self) -> Log:
        if self._log is None:
            raise ValueError(f"{self.path} is closed")
        return self._log

    def _rewrite(self) -> None:
        if self._log is not None:
            self._log.close()
        rows = map(self._text, self.rows.values())
        files.write_text(self.path / TABLE, self._header + "".join(rows))
        self._log = Log(self.path / TABLE)

    def _text(self, row: Row) -> str:
        numbers = (row.metrics.get(name, math.nan) for name in self._metrics)
        metrics = ("" if math.isnan(each) else repr(each) for each in numbers)
        values = (row.values[name] for name in self._axes)
        sentence = " ".join(row.sentence.split())
        return _line((row.trial, *values, row.status, sentence, *metrics, row.steps, row.folder))

    def __enter__(self) -> SweepWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def read_plan(path: Path) -> str:
    """The text of a sweep's plan; raises UnusableFile where there is none."""
    try:
        return files.read_bytes(path / PLAN, _LIMIT_BYTES).decode()
    except FileNotFoundError:
        raise UnusableFile(f"{path / PLAN}: missing; expected the folder of a sweep") from None
    except UnicodeDecodeError as error:
        raise UnusableFile(f"{path / PLAN}: not UTF-8 at byte {error.start}") from None


def read_rows(path: Path) -> list[Row]:
    """The trials that have ended, in the table's order; an unfinished last line is left out.

    So is what follows zeros, which a power cut may leave in place of rows nobody waited for.
    Raises UnusableFile, with `file:line`, for a row that is broken or a trial that stands twice.
    """
    file = path / TABLE
    try:
        text = files.read_bytes(file, _LIMIT_BYTES).decode(errors="replace")
    except FileNotFoundError:
        raise UnusableFile(f"{file}: missing; expected the table of a sweep") from None
    before_zeros = text.partition("\0")[0]
    whole = before_zeros[: before_zeros.rfind("\n") + 1]
    header, *lines = list(csv.reader(io.StringIO(whole))) or [[]]
    if not {*_FIRST, *_ENDED, *_LAST} <= set(header):
        raise UnusableFile(f"{file}:1: expected a header with trial, status, sentence and folder")
    rows: dict[int, Row] = {}
    for number, cells in enumerate(lines, start=2):
        try:
            row = _row(dict(zip(header, cells, strict=True)), header)
            if row.trial in rows:
                raise ValueError(f"trial {row.trial} stands twice")
        except ValueError as error:
            raise UnusableFile(f"{file}:{number}: {error}") from None
        rows[row.trial] = row
    return list(rows.values())


def _row(cells: Mapping[str, str], header: Sequence[str]) -> Row:
    ended = header.index("status")
    metrics = header[ended + len(_ENDED) : -len(_LAST)]
    return Row(
        trial=int(cells["trial"]),
        values={name: cells[name] for name in header[1:ended]},
        status=cells["status"],
        sentence=cells["sentence"],
        metrics={name: float(cells[name] or "nan") for name in metrics},
        steps=int(cells["steps"]),
        folder=cells["folder"],
    )


def _line(cells: Iterable[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def discard_run(folder: Path) -> None:
    """Remove the run of a trial that is to begin anew; raises RunBusy where somebody writes it."""
    with RunLock(folder), files.environment_faults(folder, "remove"):
        for each in sorted(folder.rglob("*"), reverse=True):
            if each.is_dir() and not each.is_symlink():
                files.disk.remove_folder(each)
            elif each.name != lock.FILE_NAME:
                files.disk.unlink(each)
    with files.environment_faults(folder, "remove"):
        files.disk.remove_folder(folder)

"""Writing a run folder: records in, rows out; an epoch's row at once, steps about every second."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any

from lrrun.records import EpochRecord, HeadroomRecord, Outcome, Record, StepBlock, StepRecord
from lrrun.runlog import files
from lrrun.runlog.columns import EPOCH_COLUMNS, HEADROOM, TIMING_COLUMNS, Columns
from lrrun.runlog.continuation import check_tables, supersede
from lrrun.runlog.info import SCHEMA_VERSION, read_info, write_info
from lrrun.runlog.lock import RunLock
from lrrun.runlog.log import Log
from lrrun.runlog.names import create_run_folder
from lrrun.runlog.rows import row, rows
from lrrun.runlog.summary import Summary, summarize
from lrrun.runlog.table import read_table

_ENDED = ("step", "finished", "tables", *(field.name for field in fields(Summary)))
"""Entries of run.json that only a run which has ended has."""

_CONFIG = "config.yaml"

_BUFFERED_STEPS = 512
_BUFFERED_SECONDS = 1.0


class RunWriter:
    """The one writer of a run folder. A context manager: leaving it closes the files.

    It holds the run's lock until it is closed. Rows of steps.csv wait in memory until the next
    epoch row, `sync`, `finish` or `close`, until they are 512, or one comes a second after the last
    were written; a row of epochs.csv is in the file when `write` returns, and never before the
    steps that it sums up. Raises EnvironmentFault where the disk refuses; what is written is whole.
    """

    def __init__(
        self,
        path: Path,
        info: dict[str, Any],
        lock: RunLock,
        columns: Columns,
    ) -> None:
        self.path = path
        self.checkpoints = path / "checkpoints"
        self._info = info
        self._lock = lock
        self._settled = False
        self._groups = len(columns.groups)
        self._metrics = columns.metrics
        self._grad_norm = columns.grad_norm
        self._driven = len(columns.driven)
        self._pending: list[str] = []
        self._flushed = time.monotonic()
        self._steps = Log(path / "steps.csv")
        self._epochs = Log(path / "epochs.csv")
        self._timing = Log(path / "timing.csv")
        self._headroom = Log(path / HEADROOM) if columns.headroom else None

    @classmethod
    def create(
        cls,
        runs_dir: Path,
        name: str,
        config_text: str,
        groups: tuple[str, ...],
        info: Mapping[str, Any],
        *,
        metrics: tuple[str, ...] = (),
        grad_norm: bool = False,
        driven: tuple[str, ...] = (),
        headroom: bool = False,
        reserved: Path | None = None,
    ) -> RunWriter:
        """Reserve `runs_dir/<name>-<n>` and write what is known before the first update.

        `groups`, `metrics`, `grad_norm`, `driven` and `headroom` are those of `Columns`. `info`
        goes into run.json as it is and holds at least `config`, the resolved config as plain data.
        run.json comes last: a folder that has one is a run. Only the folder's name is waited for;
        `settle` waits for the rest, once there is something to lose. `reserved` is the folder,
        where `create_run_folder` has been asked for it before. Raises UsageError for a name that
        cannot be a run's or a column's; then nothing is left behind.
        """
        columns = Columns(groups, metrics, grad_norm, driven, headroom)
        headers = columns.headers()
        path = reserved or create_run_folder(runs_dir, name)
        full_info = {
            "schema_version": SCHEMA_VERSION,
            "id": secrets.token_hex(8),
            "name": name,
            "status": "running",
            "sentence": "",
            "created": _now(),
            **info,
            "groups": list(groups),
        }
        try:
            lock = RunLock(path)
            try:
                files.write_new_text(path / _CONFIG, config_text, sync=False)
                files.make_folder(path / "checkpoints", sync=False)
                for file_name, header in headers.items():
                    files.write_new_text(path / file_name, header, sync=False)
                write_info(path, full_info, sync=False)
                return cls(path, full_info, lock, columns)
            except BaseException:
                lock.release()
                raise
        except BaseException:
            files.remove_new_folder(path)
            raise

    @classmethod
    def reopen(
        cls,
        path: Path,
        step: int,
        marks: Mapping[str, Any] | None,
        groups: tuple[str, ...],
        *,
        lock: RunLock | None = None,
        metrics: tuple[str, ...] = (),
        grad_norm: bool = False,
        driven: tuple[str, ...] = (),
        headroom: bool = False,
    ) -> RunWriter:
        """Go on with the run in `path` from its checkpoint at `step`, which holds `marks`.

        `marks` is what `sync` gave before that checkpoint was saved; None where there is none and
        the run starts again at step 0. Rows after the checkpoint, a torn last line included, go to
        superseded/<table>-<n>.csv. `lock` is the run's, where the caller has taken it; it is given
        back with the writer. Raises RunBusy, UnusableFile where a table is not as it was at the
        checkpoint (then nothing was written), EnvironmentFault.
        """
        lock = lock or RunLock(path)
        columns = Columns(groups, metrics, grad_norm, driven, headroom)
        try:
            info = read_info(path)
            tables = check_tables(path, columns.headers(), marks)
            for folder in (path, files.own_folder(path / "checkpoints")):
                files.remove_temporaries(folder)
            info = {key: value for key, value in info.items() if key not in _ENDED}
            resumed = [*info.get("resumed", ()), {"step": step, "at": _now()}]
            info |= {"status": "running", "sentence": "", "resumed": resumed}
            files.sync(path / _CONFIG)  # a run that was killed early has not waited for it
            write_info(path, info)
            supersede(path, tables)
            writer = cls(path, info, lock, columns)
            writer._settled = True
            return writer
        except BaseException:
            lock.release()
            raise

    @property
    def info(self) -> Mapping[str, Any]:
        """What run.json says."""
        return self._info

    def write(self, record: Record) -> None:
        """Add a row for `record`; raises ValueError where it does not fit the columns."""
        if len(record.lr) != self._groups:
            raise ValueError(f"expected {self._groups} learning rates, got {len(record.lr)}")
        if isinstance(record, StepRecord):
            self._write_step(record)
        elif isinstance(record, EpochRecord):
            self._write_epoch(record)
        else:
            self._write_headroom(record)

    def _write_step(self, record: StepRecord) -> None:
        if len(record.driven) != self._driven:
            raise ValueError(f"expected {self._driven} driven values, got {len(record.driven)}")
        norm = (record.grad_norm,) if self._grad_norm else ()
        self._pending.append(row(record.step, *record.lr, record.loss, *record.driven, *norm))
        self._flush_if_due()

    def write_steps(self, block: StepBlock, every: int = 1) -> None:
        """Add the rows of those updates of a block whose step is a multiple of `every`."""
        if (len(block.lr), len(block.driven)) != (self._groups, self._driven):
            raise ValueError(f"expected {self._groups} learning rates, got {len(block.lr)}")
        norm: tuple[list[float], ...] = ()
        if self._grad_norm:
            norm = (block.grad_norm or [],)
        steps = range(block.first, block.first + len(block))
        columns = (steps, *block.lr, block.loss, *block.driven, *norm)
        shown = slice(-block.first % every, None, every)
        self._pending += rows(column[shown] for column in columns)
        self._flush_if_due()

    def _write_epoch(self, record: EpochRecord) -> None:
        unknown = [name for name in record.metrics if name not in self._metrics]
        if unknown:
            raise ValueError(f"metrics without a column: {', '.join(unknown)}")
        metrics = (record.metrics.get(name) for name in self._metrics)
        norm = (record.grad_norm,) if self._grad_norm else ()
        place = (record.epoch, record.step)
        self._flush_steps()
        self._timing.append(row(*place, record.seconds, record.samples_per_second))
        self._epochs.append(
            row(*place, record.samples, *record.lr, record.train_loss, *metrics, *norm)
        )

    def _write_headroom(self, record: HeadroomRecord) -> None:
        if self._headroom is None:
            raise ValueError("this run has no headroom.csv")
        ratios = (record.update_ratio, *record.group_ratios)
        self._headroom.append(row(record.step, *record.lr, record.headroom, *ratios))

    def _flush_if_due(self) -> None:
        late = time.monotonic() - self._flushed >= _BUFFERED_SECONDS
        if late or len(self._pending) >= _BUFFERED_STEPS:
            self._flush_steps()

    def _flush_steps(self) -> None:
        if self._pending:
            self._steps.append("".join(self._pending))
            self._pending.clear()
        self._flushed = time.monotonic()

    def sync(self) -> dict[str, Any]:
        """Bring every row onto the disk; the marks that a checkpoint of this moment holds.

        Plain data: for each table its size in bytes and the SHA-256 of its content.
        """
        self._flush_steps()
        return {log.path.name: log.sync().as_data() for log in self._logs}

    def settle(self) -> None:
        """Bring onto the disk what the run began with; done once, after its first checkpoint.

        Before that a power cut has nothing to take: what it leaves is the beginning of this run,
        or a folder whose run.json is missing or broken.
        """
        if not self._settled:
            self.note()

    def note(self, **facts: Any) -> None:
        """Add `facts` to run.json now; it is replaced whole, which costs an fsync or two."""
        self._info.update(facts)
        if not self._settled:
            files.sync(self.path / _CONFIG)
        write_info(self.path, self._info)  # with all names in the folder
        self._settled = True

    def finish(self, outcome: Outcome, summary: Mapping[str, Any] | None = None) -> None:
        """Close the tables and write how the run ended, with its best and last metrics.

        These are read back from the tables that were written; `summary` adds to them or replaces
        them. The run's folder is then complete.
        """
        marks = self.sync()
        epochs = read_table(self.path / "epochs.csv", EPOCH_COLUMNS).columns
        timing = read_table(self.path / "timing.csv", TIMING_COLUMNS).columns
        self.note(
            status=outcome.status,
            sentence=outcome.sentence,
            step=outcome.step,
            finished=_now(),
            tables=marks,
            **{**asdict(summarize(epochs, timing)), **(summary or {})},
        )
        self.close()

    def close(self) -> None:
        """Write the rows that wait and give handles and lock back; a second call does nothing."""
        with contextlib.ExitStack() as last:
            last.callback(self._lock.release)
            for log in self._logs:
                last.callback(log.close)
            self._flush_steps()

    @property
    def _logs(self) -> tuple[Log, ...]:
        logs = self._steps, self._timing, self._epochs
        return logs if self._headroom is None else (*logs, self._headroom)

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="microseconds")

"""Writing a run folder: records in, rows out, one flushed line an epoch."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any

from lrrun.errors import UsageError
from lrrun.records import EpochRecord, Outcome, Record, StepRecord
from lrrun.runlog import files, strict_json
from lrrun.runlog.names import create_run_folder
from lrrun.runlog.summary import summarize
from lrrun.runlog.table import read_table

SCHEMA_VERSION = 1
"""Of the run folder; a reader refuses what a newer one wrote."""

EPOCH_COLUMNS = ("epoch", "step", "samples")
STEP_COLUMNS = ("step",)
TIMING_COLUMNS = ("epoch", "step", "seconds", "samples_per_second")

_BUFFERED_STEPS = 512
_COLUMN = re.compile(r"[^\s,\"\x00-\x1f\x7f]+")


class RunWriter:
    """The one writer of a run folder. A context manager: leaving it closes the files.

    Rows of steps.csv wait in memory until the next epoch row, `finish`, `close`, or 512 of them;
    a row of epochs.csv is in the file when `write` returns, and never before the steps that it sums
    up. Methods raise EnvironmentFault where the disk refuses; what was written stays whole.
    """

    def __init__(
        self,
        path: Path,
        info: dict[str, Any],
        groups: tuple[str, ...],
        metrics: tuple[str, ...],
        grad_norm: bool,
        momentum: bool,
    ) -> None:
        self.path = path
        self.checkpoints = path / "checkpoints"
        self._info = info
        self._groups = len(groups)
        self._metrics = metrics
        self._grad_norm = grad_norm
        self._momentum = momentum
        self._pending: list[str] = []
        self._steps = files.AppendFile(path / "steps.csv")
        self._epochs = files.AppendFile(path / "epochs.csv")
        self._timing = files.AppendFile(path / "timing.csv")

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
        momentum: bool = False,
    ) -> RunWriter:
        """Reserve `runs_dir/<name>-<n>` and write what is known before the first update.

        `groups` names the param groups, in order; `metrics` the columns after train_loss, in order;
        `grad_norm` and `momentum` say whether records carry them. `info` goes into run.json as it
        is and holds at least `config`, the resolved config as plain data. Raises UsageError for a
        name that cannot be a run's or a column's; then nothing is left behind.
        """
        lr = ("lr",) if len(groups) == 1 else tuple(f"lr/{group}" for group in groups)
        norm = ("grad_norm",) if grad_norm else ()
        headers = {
            "epochs.csv": (*EPOCH_COLUMNS, *lr, "train_loss", *metrics, *norm),
            "steps.csv": (*STEP_COLUMNS, *lr, "loss", *(("momentum",) if momentum else ()), *norm),
            "timing.csv": TIMING_COLUMNS,
        }
        for columns in headers.values():
            _check_columns(columns)
        path = create_run_folder(runs_dir, name)
        full_info = {
            "schema_version": SCHEMA_VERSION,
            "name": name,
            "status": "running",
            "sentence": "",
            "created": _now(),
            **info,
            "groups": list(groups),
        }
        try:
            files.write_text(path / "config.yaml", config_text)
            files.write_text(path / "run.json", strict_json.dumps(full_info) + "\n")
            files.make_folder(path / "checkpoints")
            for file_name, columns in headers.items():
                files.write_text(path / file_name, ",".join(columns) + "\n")
            return cls(path, full_info, groups, metrics, grad_norm, momentum)
        except BaseException:
            shutil.rmtree(path, ignore_errors=True)  # ours alone: we have just made it
            raise

    def write(self, record: Record) -> None:
        """Add a row for `record`; raises ValueError where it does not fit the columns."""
        if len(record.lr) != self._groups:
            raise ValueError(f"expected {self._groups} learning rates, got {len(record.lr)}")
        if isinstance(record, StepRecord):
            self._write_step(record)
        else:
            self._write_epoch(record)

    def _write_step(self, record: StepRecord) -> None:
        momentum = (record.momentum,) if self._momentum else ()
        norm = (record.grad_norm,) if self._grad_norm else ()
        self._pending.append(_row(record.step, *record.lr, record.loss, *momentum, *norm))
        if len(self._pending) >= _BUFFERED_STEPS:
            self._flush_steps()

    def _write_epoch(self, record: EpochRecord) -> None:
        unknown = [name for name in record.metrics if name not in self._metrics]
        if unknown:
            raise ValueError(f"metrics without a column: {', '.join(unknown)}")
        metrics = (record.metrics.get(name) for name in self._metrics)
        norm = (record.grad_norm,) if self._grad_norm else ()
        place = (record.epoch, record.step)
        self._flush_steps()
        self._timing.append(_row(*place, record.seconds, record.samples_per_second))
        self._epochs.append(
            _row(*place, record.samples, *record.lr, record.train_loss, *metrics, *norm)
        )

    def _flush_steps(self) -> None:
        if self._pending:
            self._steps.append("".join(self._pending))
            self._pending.clear()

    def note(self, **facts: Any) -> None:
        """Add `facts` to run.json now; it is replaced whole, which costs an fsync."""
        self._info.update(facts)
        files.write_text(self.path / "run.json", strict_json.dumps(self._info) + "\n")

    def finish(self, outcome: Outcome, summary: Mapping[str, Any] | None = None) -> None:
        """Close the tables and write how the run ended, with its best and last metrics.

        These are read back from the tables that were written; `summary` adds to them or replaces
        them. The run's folder is then complete.
        """
        self._flush_steps()
        for log in (self._steps, self._timing, self._epochs):
            log.sync()
        self.close()
        epochs = read_table(self.path / "epochs.csv", EPOCH_COLUMNS).columns
        timing = read_table(self.path / "timing.csv", TIMING_COLUMNS).columns
        self.note(
            status=outcome.status,
            sentence=outcome.sentence,
            step=outcome.step,
            finished=_now(),
            **{**asdict(summarize(epochs, timing)), **(summary or {})},
        )

    def close(self) -> None:
        """Write the rows that wait and give the handles back; a second call does nothing."""
        try:
            self._flush_steps()
        finally:
            for log in (self._steps, self._timing, self._epochs):
                log.close()

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _row(*values: float | None) -> str:
    """One CSV line; a number in the fewest digits that read back as the same float."""
    return ",".join("" if value is None else _cell(value) for value in values) + "\n"


def _cell(value: float) -> str:
    return repr(value if type(value) is int else float(value))


def _check_columns(names: Iterable[str]) -> None:
    seen = set()
    for name in names:
        if not _COLUMN.fullmatch(name):
            raise UsageError(
                f"column {name!r}: expected the name of a param group or metric without spaces, "
                "commas, quotes or control characters"
            )
        if name in seen:
            raise UsageError(f"column {name!r}: two param groups or metrics have this name")
        seen.add(name)


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="microseconds")

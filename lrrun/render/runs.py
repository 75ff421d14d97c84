"""How a list of runs looks, and one run explained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lrrun.render.numbers import count, duration, metric, number, rates
from lrrun.render.tables import STATUS_COLORS, Column, print_columns, print_table
from lrrun.render.terminal import printable
from lrrun.render.values import describe, said_values
from lrrun.runlog.reader import Run
from lrrun.runlog.summary import Summary, lr_columns

_PARTS = ("model", "dataset", "optimizer", "scheduler")
_HEAD, _TAIL = 6, 6


def print_run_list(console: Console, runs: Sequence[tuple[Run, Summary | None]]) -> None:
    """One line a run; a run without a summary (its tables are broken) has no numbers."""
    summaries = [summary or Summary() for _, summary in runs]
    configs = [run.config for run, _ in runs]
    columns = [
        Column("run", [run.name for run, _ in runs], style="cyan"),
        Column("status", [_status(run) for run, _ in runs], colors=STATUS_COLORS),
    ]
    for keep, part in zip((4, 3, 5, 6), _PARTS, strict=True):
        columns.append(Column(part, [_name(config.get(part)) for config in configs], keep=keep))
    named = list(dict.fromkeys(name for summary in summaries for name in summary.best))
    metrics = [name for name in named if name != "train_loss"] or named
    for name in metrics:
        bests = [summary.best.get(name) for summary in summaries]
        cells = ["-" if best is None else metric(best.value) for best in bests]
        columns.append(Column(f"{name}\nbest", cells, "right", keep=8 if name == "val_loss" else 7))
    epochs = [count(summary.epochs) if summary.epochs else "-" for summary in summaries]
    seconds = [duration(summary.seconds) if summary.epochs else "-" for summary in summaries]
    columns += [
        Column("epochs", epochs, "right", keep=2),
        Column("time", seconds, "right", keep=2),
        Column("created (UTC)", [moment(run.created) for run, _ in runs], keep=1),
    ]
    print_table(console, columns)


def _name(section: Any) -> str:
    """The name of a component; the names of a schedule's parts, in order."""
    if isinstance(section, Mapping):
        return str(section.get("name", "-"))
    if isinstance(section, list):
        return " > ".join(_name(part) for part in section)
    return "-" if section is None else str(section)


def moment(created: str) -> str:
    """An ISO time to the minute.

    >>> moment("2026-09-03T14:05:59.123456+00:00")
    '2026-09-03 14:05'
    """
    return created[:16].replace("T", " ")


def print_run(console: Console, run: Run, logged: int = 0) -> None:
    """The outcome, the config, and the epochs of one run; `logged` is how far its steps reach."""
    summary = run.summary
    console.print(printable(run.name), style="bold", end="  ")
    console.print(_status(run), style=STATUS_COLORS.get(_status(run), "yellow"))
    console.print(printable(run.sentence or _no_end(run)))
    console.print(_size(run, max(summary.steps, logged)))
    for line in _bests(summary):
        console.print(printable(line))
    for incident in run.info.get("incidents", ()):
        console.print(
            printable(f"{incident['kind']} at step {incident['step']}: {incident['sentence']}")
        )
    console.print()
    facts = Table.grid(padding=(0, 2))
    for key, value in run.config.items():
        if (described := describe(said_values(value))) != "-":
            facts.add_row(Text(printable(key), "cyan"), Text(described))
    known = {key: run.info[key] for key in ("device", "parent") if run.info.get(key)}
    origin = [f"{moment(run.created)} UTC", *(f"{k} {describe(v)}" for k, v in known.items())]
    facts.add_row(Text("made", "cyan"), Text(", ".join(origin)))
    console.print(facts)
    console.print()
    if not run.epochs["step"].size:
        console.print("no epochs yet")
        return
    print_table(console, _epoch_columns(run))
    for name in run.torn:
        console.print(f"{name}: the last line is unfinished and was left out", style="dim")


def _status(run: Run) -> str:
    return "stopped?" if run.abandoned else run.status


def _no_end(run: Run) -> str:
    if run.abandoned:
        return f"its process is gone; `lrrun resume {run.name}` goes on from its last checkpoint"
    return "still running" if run.status == "running" else "no reason was kept"


def _size(run: Run, done: int) -> str:
    """How far the run came; `done` counts its updates, which pass its last finished epoch."""
    summary, total = run.summary, run.info.get("total_steps") or 0
    steps = f"{count(done)} of {count(total)} steps" if done < total else f"{count(done)} steps"
    if not summary.epochs:
        return f"{steps}, none of them in a finished epoch" if done else steps
    epochs = f"{count(summary.epochs)} epoch" + ("" if summary.epochs == 1 else "s")
    samples, seconds = count(summary.samples), duration(summary.seconds)
    return f"{epochs}, {steps}, {samples} samples in {seconds}"


def _bests(summary: Summary) -> Iterator[str]:
    for name, best in summary.best.items():
        if name != "train_loss" or len(summary.best) == 1:
            last = metric(summary.last.get(name))
            where = f"at epoch {best.epoch} (step {count(best.step)}, lr {rates(best.lr)})"
            yield f"best {name} {metric(best.value)} {where}, last {last}"


def _epoch_columns(run: Run) -> list[Column]:
    """epochs.csv with the time from timing.csv; the middle of a long run is left out."""
    table = run.epochs
    rows = np.arange(table["step"].size)
    gap = rows.size > _HEAD + _TAIL + 1
    shown = np.concatenate([rows[:_HEAD], rows[-_TAIL:]]) if gap else rows
    columns = []
    lrs = lr_columns(table)
    for name, values in table.items():
        if name in ("epoch", "step", "samples"):
            cells = [str(int(values[row])) for row in shown]
        else:
            write = number if name in lrs else metric
            cells = ["-" if np.isnan(values[row]) else write(float(values[row])) for row in shown]
        columns.append((name, cells))
    if run.timing["seconds"].size == rows.size:
        columns.append(("time", [duration(float(run.timing["seconds"][row])) for row in shown]))
    if gap:
        for _, cells in columns:
            cells.insert(_HEAD, "...")
    keep = {"epoch": 9, "step": 4, "samples": 1, "time": 2, "train_loss": 6, "val_loss": 8}
    return [Column(name, cells, "right", keep.get(name, 5)) for name, cells in columns]


def print_files(console: Console, folder: Path, files: Sequence[tuple[str, int]]) -> None:
    """Where the run lies, and the names and sizes of what is in it."""
    sizes = [size(size_bytes) for _, size_bytes in files]
    title = f"files in {folder}/"
    console.print()
    names = [name for name, _ in files]
    print_columns(console, [Column(title, names), Column("size", sizes, "right")])


def size(size_bytes: int) -> str:
    """A file's size.

    >>> size(512), size(20480), size(3_500_000)
    ('512 B', '20.5 kB', '3.5 MB')
    """
    if size_bytes < 1000:
        return f"{size_bytes} B"
    power = 1 if size_bytes < 10**6 else 2 if size_bytes < 10**9 else 3
    return f"{size_bytes / 1000**power:.1f} {('kB', 'MB', 'GB')[power - 1]}"

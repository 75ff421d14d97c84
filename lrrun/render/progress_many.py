"""Many runs that train at once: one live line for all, one plain line for each row of theirs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from lrrun.records import EpochRecord, Incident, Outcome
from lrrun.render.numbers import count, metric
from lrrun.render.terminal import make_console, printable
from lrrun.render.values import run_length
from lrrun.render.watching import watched

if TYPE_CHECKING:
    from lrrun.training.journey import Started

Event = TypeVar("Event")


def watch_many(
    events: Iterable[tuple[int, Event]], console: Console | None = None
) -> Iterator[tuple[int, Event]]:
    """Hand the events of several runs on, drawing them as they pass."""
    return watched(events, _ManyView(console or make_console()))


class _ManyView:
    """Draws runs that train together, by the ranges of their values."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.live = Live(console=console, refresh_per_second=8, transient=True)
        self.runs: dict[int, Started] = {}
        self.rows: dict[int, EpochRecord] = {}
        self.done: dict[int, int] = {}
        self.together = 0
        """Runs of a chunk that have begun, until all of it has."""
        if console.is_terminal:
            self.live.start()

    def close(self) -> None:
        """Give the terminal's last line back."""
        with suppress(OSError):
            self._tell_rows()
            self.live.stop()

    def show(self, numbered: tuple[int, object]) -> None:
        """Draw one event, which comes with the number of its run."""
        index, event = numbered
        if isinstance(event, EpochRecord):
            self._row(index, event)
        elif isinstance(event, Incident):
            self._print(f"{self._name(index)}: {event.kind} at step {event.step}: {event.sentence}")
        elif isinstance(event, Outcome):
            self._tell_rows()
            self.done[index] = event.step
            self._print(f"{self._name(index)}: {event.status}: {event.sentence}")
        elif hasattr(event, "units"):
            self._begin(index, event)  # type: ignore[arg-type]

    def _begin(self, index: int, event: Started) -> None:
        self.runs[index] = event
        self._print(
            f"{event.path}: {count(event.parameters)} parameters, "
            f"{run_length(event.units)}, seed {event.seed}, {event.device}"
        )
        self.together += event.together > 1
        if self.together == event.together:
            self.together = 0
            self._print(
                f"{event.together} runs are trained as one; alone they would be the same but for "
                "rounding"
            )

    def _row(self, index: int, record: EpochRecord) -> None:
        """Keep it until those of the other runs are there, which come one after another."""
        if self.rows and (index in self.rows or record.step != _any(self.rows).step):
            self._tell_rows()
        self.rows[index] = record
        self.done[index] = record.step
        if self.console.is_terminal:
            self._bar()

    def _tell_rows(self) -> None:
        if not self.rows:
            return
        rows, self.rows = list(self.rows.values()), {}
        cells = [f"epoch {rows[0].epoch:>4}", f"step {rows[0].step:>7}"]
        cells.append(_range("train_loss", [row.train_loss for row in rows]))
        cells += [_range(name, [row.metrics[name] for row in rows]) for name in rows[0].metrics]
        cells.append(f"{count(round(sum(row.samples_per_second for row in rows)))} samples/s")
        self._print("  ".join(cells))

    def _bar(self) -> None:
        total = sum(each.units.total_steps for each in self.runs.values())
        done = sum(self.done.values())
        line = Table.grid(padding=(0, 1))
        bar = ProgressBar(total=total, completed=done, width=30)
        line.add_row(bar, Text(f"{done / max(1, total):4.0%}"), Text(f"{len(self.runs)} runs"))
        self.live.update(line)

    def _name(self, index: int) -> str:
        return self.runs[index].path.name if index in self.runs else f"run {index + 1}"

    def _print(self, text: str) -> None:
        self.console.print(Text(printable(text)), soft_wrap=True)


def _any(rows: dict[int, EpochRecord]) -> EpochRecord:
    return next(iter(rows.values()))


def _range(name: str, values: list[float]) -> str:
    """The lowest and the highest of a metric's values."""
    low, high = metric(min(values)), metric(max(values))
    return f"{name} {low}" if low == high else f"{name} {low} to {high}"

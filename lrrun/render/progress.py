"""A run while it trains: a live bar on a terminal, one plain line an epoch elsewhere."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from lrrun.records import EpochRecord, HeadroomRecord, Incident, Outcome, StepRecord
from lrrun.render.numbers import count, duration, metric, number
from lrrun.render.terminal import make_console, printable
from lrrun.render.values import run_length
from lrrun.render.watching import watched

if TYPE_CHECKING:
    from lrrun.training.journey import Started

Event = TypeVar("Event")


def watch(events: Iterable[Event], console: Console | None = None) -> Iterator[Event]:
    """Hand the events of a run on, drawing them as they pass."""
    return watched(events, _View(console or make_console()))


class _View:
    """Draws one run. On a terminal the last line is live; what is finished scrolls above it."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.live = Live(console=console, refresh_per_second=8, transient=True)
        self.started: Started | None = None
        self.begun = time.monotonic()
        self.speed = 0.0

        if self.console.is_terminal:
            self.live.start()

    def close(self) -> None:
        """Give the terminal's last line back."""
        with suppress(OSError):
            self.live.stop()

    def show(self, event: object) -> None:
        """Draw one event."""
        if isinstance(event, StepRecord):
            self._step(event)
        elif isinstance(event, EpochRecord):
            self._epoch(event)
        elif isinstance(event, Incident):
            self._print(f"{event.kind} at step {event.step}: {event.sentence}")
        elif isinstance(event, Outcome):
            self._outcome(event)
        elif not isinstance(event, HeadroomRecord):
            self._started(event)  # type: ignore[arg-type]

    def _started(self, event: Started) -> None:
        self.started = event
        self.begun = time.monotonic()
        units, threads = event.units, event.threads
        cpu = f", {threads} thread{'s' if threads > 1 else ''}" if event.device == "cpu" else ""
        self._print(
            f"{event.path}: {count(event.parameters)} parameters, "
            f"{run_length(units)}, seed {event.seed}, {event.device}{cpu}"
            + (f", from step {count(event.step)}" if event.step else "")
        )

    def _step(self, record: StepRecord) -> None:
        if self.started is None or not self.console.is_terminal:
            return
        total, done = self.started.units.total_steps, record.step + 1
        seconds = time.monotonic() - self.begun
        left = seconds / max(1, done - self.started.step) * (total - done)
        line = Table.grid(padding=(0, 1))
        speed = f"{count(round(self.speed))} samples/s, " if self.speed else ""
        line.add_row(
            ProgressBar(total=total, completed=done, width=30),
            Text(f"{done / total:4.0%}"),
            Text(f"loss {metric(record.loss)}, lr {number(record.lr[0])}"),
            Text(f"{speed}{duration(left)} left", style="dim"),
        )
        self.live.update(line)

    def _epoch(self, record: EpochRecord) -> None:
        self.speed = record.samples_per_second
        cells = [
            f"epoch {record.epoch:>4}",
            f"step {record.step:>7}",
            f"lr {number(record.lr[0]):<9}",
            f"train_loss {metric(record.train_loss):<8}",
            *(f"{name} {metric(value):<8}" for name, value in record.metrics.items()),
            f"{count(round(record.samples_per_second))} samples/s",
        ]
        self._print("  ".join(cells))

    def _outcome(self, outcome: Outcome) -> None:
        self.live.stop()
        self._print(f"{outcome.status}: {outcome.sentence}")
        if self.started is not None:
            typed = shlex.quote(str(self.started.path))
            compare = f"lrrun compare {typed} OTHER  compares it"
            self._print(f"lrrun show {typed}  explains it; {compare}")

    def _print(self, text: str) -> None:
        self.console.print(Text(printable(text)), soft_wrap=True)

"""A sweep before it runs, and while it runs: its plan and cost, and a table that grows."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from lrrun.records import Notice
from lrrun.render.numbers import count, duration, metric
from lrrun.render.runs import moment
from lrrun.render.tables import STATUS_COLORS, Column, print_table
from lrrun.render.terminal import printable
from lrrun.render.watching import watched
from lrrun.runlog.sweeps import Row, read_rows
from lrrun.search.axes import written
from lrrun.search.design import Design, PlannedTrial
from lrrun.search.halving import WARNING, Agreement
from lrrun.search.launch import Began, Progress
from lrrun.search.outline import Outline
from lrrun.search.overview import Overview
from lrrun.search.plan import Plan
from lrrun.search.sweep import BatchBegins, SweepEvent
from lrrun.search.trials import best_trial, label, loss_of

_SHOWN = 8
"""Trials in the live table, and refusals in the plan."""

_REFRESH_SECONDS = 0.25


def print_outline(console: Console, plan: Plan, outline: Outline) -> None:
    """What will be trained, how it is put together, and what it costs."""
    for line in _outline_lines(plan, outline):
        console.print(printable(line), soft_wrap=True)


def print_done(console: Console, path: Path, total: int) -> None:
    """How much of a sweep that was begun before is left; trials that failed are tried again."""
    done = sum(row.status != "failed" for row in read_rows(path))
    text = f"{path}: {_many(done, 'trial')} done before, {count(max(0, total - done))} to go"
    console.print(printable(text), soft_wrap=True)


def _outline_lines(plan: Plan, outline: Outline) -> Iterator[str]:
    yield f"{_method(plan.design)} = {_many(outline.trials, 'trial')}"
    for axis in plan.design.widest:
        values = axis.as_data()
        text = values if isinstance(values, str) else ", ".join(map(written, values))
        yield f"  {axis.key}: {text}"
    steps = "" if outline.steps is None else f"{count(outline.steps)} steps in all, "
    runs = count(round(full)) if (full := outline.full_runs) >= 1000 else f"{full:.4g}"
    yield f"cost: {steps}{runs} run{'' if runs == '1' else 's'} of the whole config"
    if plan.chunk > 1:
        sizes = Counter(len(chunk) for chunk in outline.first)
        fused = [f"{n} × {size}" for size, n in sorted(sizes.items(), reverse=True) if size > 1]
        alone = f", {_many(sizes[1], 'trial')} alone" if sizes[1] else ""
        which = "first trials" if plan.design.chosen else "trials"
        yield f"{which} trained as one: {' + '.join(fused) or 'none'}{alone}"
    yield from outline.apart
    for reason, trials in list(outline.refused.items())[:_SHOWN]:
        yield f"{_many(trials, 'trial')} {reason}"
    names = [axis.key for axis in plan.design.axes if axis.path[-1] == "name"]
    if outline.refused and names:
        section = names[0].rpartition(".")[0]
        yield f"components with keys of their own: {section}={{name: A, ...}},{{name: B}}"


def _method(design: Design) -> str:
    method = design.method
    if method.name == "grid":
        sizes = " × ".join(f"{len(axis.values())} {axis.key}" for axis in design.widest)
        text = f"grid of {sizes}"
    else:
        points = design.points_after(len(design.extensions))
        text = f"{_many(points, 'point')} by {'TPE' if method.name == 'tpe' else 'random search'}"
        seeds = [axis for axis in design.widest if axis.key == "seed"]
        text += f" × {len(seeds[0].values())} seed" if seeds else ""
    if method.halving:
        name = "successive halving" if method.halving == "halving" else "Hyperband"
        text += f", {name} (eta {method.eta}, {method.rungs} rungs)"
    return text


def _many(number: int, noun: str) -> str:
    return f"{count(number)} {noun}{'' if number == 1 else 's'}"


def watch_sweep(
    events: Iterable[SweepEvent], console: Console, total: int, plan: Plan
) -> Iterator[SweepEvent]:
    """Hand the events of a sweep on, drawing them: a live table, or a line a trial elsewhere."""
    return watched(events, _View(console, total, plan))


class _View:
    """Draws one sweep: finished trials scroll by, what runs stands below them."""

    def __init__(self, console: Console, total: int, plan: Plan) -> None:
        self.console = console
        self.total = total
        self.metric = plan.metrics[0]
        self.trials: dict[int, PlannedTrial] = {}
        self.running: dict[int, tuple[int, int, Mapping[str, float]]] = {}
        self.done = self.here = 0
        self.begun = time.monotonic()
        self.drawn = 0.0
        self.said: set[str] = set()
        self.live = Live(console=console, refresh_per_second=1 / _REFRESH_SECONDS, transient=True)
        if console.is_terminal:
            self.live.start()

    def close(self) -> None:
        """Give the terminal's last lines back."""
        with suppress(OSError):
            self.live.stop()

    def show(self, event: SweepEvent) -> None:
        """Draw one event."""
        if isinstance(event, BatchBegins):
            self.trials |= {trial.number: trial for trial in event.trials}
            self.done += event.done
            if event.done:
                self._print(f"{_many(event.done, 'trial')} done before, {self._left()} to go")
        elif isinstance(event, Began):
            self.running[event.trial] = (0, event.steps, {})
        elif isinstance(event, Progress):
            steps = self.running.get(event.trial, (0, 0, {}))[1]
            self.running[event.trial] = (event.step, steps, event.metrics)
        elif isinstance(event, Notice):
            if event.sentence not in self.said:
                self.said.add(event.sentence)
                self._print(event.sentence)
        else:
            self._ended(event)
        now = time.monotonic()
        if self.console.is_terminal and now - self.drawn > _REFRESH_SECONDS:
            self.drawn = now
            self.live.update(self._table())

    def _left(self) -> int:
        return max(0, self.total - self.done)

    def _ended(self, row: Row) -> None:
        self.running.pop(row.trial, None)
        self.done += 1
        self.here += 1
        value = row.metrics.get(self.metric)
        trial = self.trials[row.trial]
        result = f"{self.metric} {metric(value)}" if row.status == "completed" else row.sentence
        self._print(
            f"{self.done:>{len(str(self.total))}}/{self.total} trial {row.trial:<4} "
            f"{row.status:<9}  {label(trial.values)}  {result}",
            STATUS_COLORS.get(row.status, "") if row.status != "completed" else "",
        )

    def _table(self) -> Group:
        """How far everything is, and the trials that run."""
        head = Table.grid(padding=(0, 1))
        share = sum(step / steps for step, steps, _ in self.running.values() if steps)
        seconds = time.monotonic() - self.begun
        worked = self.here + share
        left = f"{duration(seconds / worked * (self._left() - share))} left" if worked else ""
        head.add_row(
            ProgressBar(total=self.total, completed=self.done + share, width=30),
            Text(f"{self.done}/{self.total} trials, {len(self.running)} running"),
            Text(left, style="dim"),
        )
        rows = Table.grid(padding=(0, 2))
        for number, (step, steps, values) in list(self.running.items())[:_SHOWN]:
            shown = ", ".join(f"{name} {metric(each)}" for name, each in values.items())
            trial = self.trials[number]
            rows.add_row(
                Text(f"trial {number}", "cyan"),
                Text(printable(label(trial.values))),
                Text(f"{step}/{steps}"),
                Text(shown),
            )
        return Group(head, rows)

    def _print(self, text: str, style: str = "") -> None:
        self.console.print(Text(printable(text), style), soft_wrap=True)


def print_trials(
    console: Console,
    path: Path,
    plan: Plan,
    planned: Sequence[PlannedTrial],
    rows: Mapping[int, Row],
) -> None:
    """How many trials ended how, the best of them, and why others failed."""
    total = plan.design.total()
    counts = Counter(row.status for row in rows.values())
    said = ", ".join(f"{count(n)} {status}" for status, n in counts.most_common())
    rest = f", {count(total - len(rows))} to go" if len(rows) < total else ""
    text = f"{path}: {_many(total, 'trial')}: {said or 'none ended'}{rest}"
    console.print(printable(text), soft_wrap=True)
    losses = {number: loss_of(row, plan.metrics[0]) for number, row in rows.items()}
    best = best_trial(planned, losses)
    if best is not None:
        row = rows[best.number]
        value = metric(losses[best.number])
        console.print(
            printable(f"best {plan.metrics[0]} {value}: {label(best.values)} ({row.folder})"),
            soft_wrap=True,
        )
    reasons = Counter(row.sentence for row in rows.values() if row.status == "failed")
    for reason, n in list(reasons.items())[:_SHOWN]:
        console.print(printable(f"{_many(n, 'trial')} failed: {reason}"), soft_wrap=True)
    if rest:
        console.print(printable(f"lrrun resume {path}  goes on with it"), soft_wrap=True)


def print_agreement(console: Console, found: Sequence[Agreement]) -> None:
    """How far the rungs of a halving sweep foretold the whole runs, and what that means."""
    several = len({each.bracket for each in found}) > 1
    for each in found:
        bracket = f"bracket {each.bracket}, " if several else ""
        console.print(
            f"{bracket}rungs of {each.scale:.3g} and {each.later_scale:.3g} of a run: "
            f"{each.agreed} of {_many(each.pairs, 'pair')} in the same order, "
            f"Kendall tau {each.tau:.2f}",
            soft_wrap=True,
        )
    if not found:
        console.print("no two points were in two rungs: nothing says how far a rung can be trusted")
    console.print(f"note: {WARNING}", soft_wrap=True)


def _best(sweep: Overview) -> str:
    return "-" if math.isnan(sweep.best) else f"{sweep.metric} {metric(sweep.best)}"


def print_sweep_list(console: Console, sweeps: Sequence[Overview]) -> None:
    """One line a sweep; one that cannot be read says why."""
    whole = [each for each in sweeps if not each.problem]
    if whole:
        failed = [each.counts.get("failed", 0) for each in whole]
        columns = [
            Column("sweep", [each.name for each in whole], style="cyan"),
            Column("status", [each.status for each in whole]),
            Column("trials", [f"{each.ended}/{each.total}" for each in whole], "right"),
            Column("failed", [str(n) if n else "-" for n in failed], "right", keep=5),
            Column("axes", [", ".join(each.axes) for each in whole], keep=4),
            Column("best", [_best(each) for each in whole], keep=8),
            Column("created (UTC)", [moment(each.created) for each in whole], keep=1),
        ]
        print_table(console, columns)
    for each in sweeps:
        if each.problem:
            console.print(printable(f"{each.name}: unreadable: {each.problem}"), soft_wrap=True)

"""The training loop: a generator of records. Whoever consumes it decides what becomes of them.

Steps run in segments that end where something must be said or saved: at an evaluation, an epoch's
end, a pause that was asked for: see Timetable; and after half a second where each is looked at
anyway, as on the CPU. Inside a segment LRs are computed ahead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from lrrun.config.clock import Clock
from lrrun.config.train import Train
from lrrun.records import EpochRecord, Incident, Outcome, Record, StepRecord
from lrrun.training import moments
from lrrun.training.chance import chance, restore_chance
from lrrun.training.datasets import Splits
from lrrun.training.evaluation import evaluate
from lrrun.training.feed import Feed
from lrrun.training.headroom import Gauge
from lrrun.training.moments import Steps
from lrrun.training.rates import Cut
from lrrun.training.tally import Tally
from lrrun.training.timetable import Timetable
from lrrun.training.trainee import Trainee
from lrrun.training.updates import Updates
from lrrun.training.watch import EarlyStop, Trouble


class Loop:
    """Trains a trainee from its step to the end of its run; `records()` is the generator.

    `clock` says which rows each update takes, `seed` with the epoch's number in which order they
    are. `stop_requested` is asked before every step and inside evaluations; where it says yes, the
    run ends as interrupted. `pauses` are further steps at which the state is to be saved, `cuts`
    what rewinds have done to the LR.
    """

    def __init__(
        self,
        trainee: Trainee,
        data: Splits,
        settings: Train,
        batch_size: int,
        clock: Clock,
        seed: int,
        stop_requested: Callable[[], bool] = lambda: False,
        pauses: Steps = moments.NEVER,
        cuts: Sequence[Cut] = (),
    ) -> None:
        self.trainee = trainee
        self.data = data
        self.settings = settings
        self.batch_size = batch_size
        self.plan = clock.batches
        self.total_steps = clock.units.total_steps
        self.stop_requested = stop_requested
        feed = Feed(data, clock.batches, batch_size, seed, trainee.device, self.total_steps)
        self.updates = Updates(trainee, settings, feed, stop_requested, cuts)
        self.gauge: Gauge | None = None
        if settings.headroom is not None:
            self.gauge = Gauge(trainee, feed, settings.headroom, clock.units)
            pauses = np.union1d(pauses, self.gauge.stops)
        self.timetable = Timetable(settings, clock, pauses)
        self.early_stop = EarlyStop(settings.early_stopping) if settings.early_stopping else None
        self.row_at = 0
        """The step of the last row: one that is due at `trainee.step` may be still to be made."""
        self.handed = True
        """Has the record of the trainee's last update been handed out?"""

    @property
    def at_rest(self) -> bool:
        """Has everything been handed out that is due at the trainee's step?"""
        return self.handed and not self._row_is_pending()

    def records(self) -> Iterator[Record | Incident | Outcome]:
        """Everything that is still to come of the run, then how it ended.

        What is saved while the loop is `at_rest`, or after an outcome other than a divergence, goes
        on exactly from there.
        """
        while True:
            if self._row_is_pending():
                record = self._epoch_record()
                if record is None:
                    break
                self._show(record)
                yield record
            if self.early_stop is not None and (reason := self.early_stop.reason):
                yield Outcome("completed", f"stopped early: {reason}", self.trainee.step)
                return
            if self.trainee.step >= self.total_steps:
                yield Outcome("completed", f"all {self.total_steps} steps done", self.trainee.step)
                return
            last = self.timetable.next_stop(self.trainee.step)
            if self.gauge is not None:
                self.gauge.before()
            rows, trouble = self.updates.make(last)
            found = self.gauge.after() if self.gauge is not None and trouble is None else None
            told = rows if found is None else [*rows, found]
            for number, row in enumerate(told, start=1):
                self.handed = number == len(told)
                yield row
            if trouble is not None:
                yield self._diverged(trouble, rows[-1])
                return
            if self.updates.stopped:
                break
        yield Outcome("interrupted", "stopped on request", self.trainee.step)

    def first_update(self) -> tuple[float, float]:
        """Make the first update alone: its loss, and the norm of its gradients."""
        return self.updates.first_update()

    def _diverged(self, trouble: Trouble, row: StepRecord | Incident) -> Outcome:
        epoch = self.plan.at(row.step)[0] + 1
        lr = f", lr {row.lr[0]:.4g}" if isinstance(row, StepRecord) else ""
        at = f"at step {row.step} (epoch {epoch}){lr}"
        return Outcome("diverged", f"{trouble.reason} {at}", row.step)

    def _row_is_pending(self) -> bool:
        """Is a row due at this step, and not made yet?"""
        step = self.trainee.step
        return step != self.row_at and self.timetable.row_is_due(step)

    def _epoch_record(self) -> EpochRecord | None:
        """The row of this moment, with an evaluation where one is due; the sums begin anew.

        None where a request to stop came in first: then nothing has happened.
        """
        trainee, tally = self.trainee, self.updates.tally
        metrics = self._evaluate() if self.timetable.evaluation_is_due(trainee.step) else {}
        if metrics is None:
            return None
        epoch = self.plan.at(trainee.step - 1)[0] + 1
        record = tally.record(epoch, trainee.step, trainee.samples, metrics)
        self.updates.tally = Tally(lr=tally.lr)
        self.row_at = trainee.step
        return record

    def _evaluate(self) -> dict[str, float] | None:
        before = chance(self.trainee.device)
        metrics = evaluate(
            self.trainee,
            self.data.val,
            self.batch_size,
            self.settings.val_rows,
            self.stop_requested,
        )
        if metrics is None:
            restore_chance(before, self.trainee.device)
        return metrics

    def _show(self, record: EpochRecord) -> None:
        """Show an evaluation to whatever listens to metrics."""
        if not record.metrics:
            return
        seen = {"train_loss": record.train_loss, **record.metrics}
        for schedule in (*self.trainee.schedules.values(), *self.trainee.co_schedules.values()):
            schedule.observe(record.step, seen)
        if self.early_stop is not None:
            self.early_stop.see(seen[self.early_stop.settings.metric])

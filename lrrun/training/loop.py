"""The training loop: a generator of records. Whoever consumes it decides what becomes of them.

Steps run in segments that end where something must be said: at an evaluation, an epoch's end, or
after SEGMENT steps. Inside a segment nothing waits for the device; LRs are computed ahead, losses
stay on the device until the segment ends (on the CPU, where reading one costs nothing, each loss is
checked before its update is made).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from lrrun.config.train import Train
from lrrun.records import EpochRecord, Outcome, Record, StepRecord
from lrrun.training.datasets import Source, Splits, augmentation_generator, epoch_order
from lrrun.training.trainee import Trainee
from lrrun.training.update import Update
from lrrun.training.watch import DivergenceWatch, EarlyStop
from lrrun.units import Units

SEGMENT = 256
"""Steps between two looks at the losses on a device that computes asynchronously."""

EVALUATION_ROWS = 512
"""Rows of a validation batch, where the training batches are smaller."""


@dataclass
class _Since:
    """What has been summed up since the last row of the epochs' table."""

    loss: float = 0.0
    samples: int = 0
    norms: list[float] = field(default_factory=list)
    training_seconds: float = 0.0
    begun: float = field(default_factory=time.perf_counter)


class Loop:
    """Trains a trainee to the end of its run; `records()` is the generator.

    `units` is the run's clock, `seed` with the epoch's number decides the order of the data.
    `stop_requested` is asked before every step; where it says yes, the run ends as interrupted.
    """

    def __init__(
        self,
        trainee: Trainee,
        data: Splits,
        settings: Train,
        batch_size: int,
        units: Units,
        seed: int,
        stop_requested: Callable[[], bool] = lambda: False,
    ) -> None:
        self.trainee = trainee
        self.data = data
        self.settings = settings
        self.batch_size = batch_size
        self.units = units
        self.seed = seed
        self.stop_requested = stop_requested
        self.steps_per_epoch = units.steps_per_epoch or units.total_steps
        every = settings.evaluate
        self.evaluate_every = max(1, units.steps(every)) if every else self.steps_per_epoch
        self.update = Update(trainee, settings)
        self.watch = DivergenceWatch(settings.divergence_factor)
        self.early_stop = EarlyStop(settings.early_stopping) if settings.early_stopping else None
        self.last_lr: tuple[float, ...] = ()
        self._order: tuple[int, Tensor] | None = None

    def records(self) -> Iterator[Record | Outcome]:
        """Every step and epoch of the run, then how it ended."""
        trainee, total = self.trainee, self.units.total_steps
        since = _Since()
        while trainee.step < total:
            rows, problem = self._segment(since)
            yield from rows
            if problem is not None:
                yield problem
                return
            if self._row_is_due():
                record = self._epoch_record(since)
                yield record
                since = _Since()
                reason = self._take(record)
                if reason is not None:
                    yield Outcome("completed", f"stopped early: {reason}", trainee.step)
                    return
        yield Outcome("completed", f"all {total} steps done", trainee.step)

    def first_update(self) -> tuple[float, float]:
        """Make the first update alone: its loss, and the norm of its gradients."""
        lrs, momenta = self._rates(0, 1)
        batches, samples = self._batches(0)
        self.update.set_rates([lr[0] for lr in lrs], None if momenta is None else momenta[0])
        loss = self.update.gradients(batches, samples)
        norm = self.update.norm()
        self.update.apply()
        return float(loss), float(norm)

    def _segment(self, since: _Since) -> tuple[list[StepRecord], Outcome | None]:
        """Train up to the next stop; its rows, and the outcome if the run ends inside it."""
        trainee = self.trainee
        first, last = trainee.step, self._next_stop()
        lrs, momenta = self._rates(first, last)
        begun = time.perf_counter()
        losses: list[float | Tensor] = []
        norms: list[float | Tensor] = []
        checks = trainee.device.type == "cpu"
        reason = None
        interrupted = False
        for k in range(last - first):
            if self.stop_requested():
                interrupted = True
                break
            batches, samples = self._batches(trainee.step)
            self.update.set_rates([lr[k] for lr in lrs], None if momenta is None else momenta[k])
            loss = self.update.gradients(batches, samples)
            if checks:
                loss_value = loss.item()
                losses.append(loss_value)
                reason = self.watch.see(loss_value)
                if reason is not None:
                    break
            else:
                losses.append(loss)
            norm, applied = self.update.apply()
            if norm is not None:
                norms.append(norm)
            if not applied:
                reason = "the gradients stayed non-finite at every loss scale"
                break
            trainee.step += 1
            trainee.samples += samples
        values, norm_values = _floats(losses), _floats(norms)
        since.training_seconds += time.perf_counter() - begun
        since.norms += norm_values
        rows = self._rows(first, values, norm_values, lrs, momenta, since)
        if not checks and reason is None:
            reason, rows = self._look_back(rows)
        if reason is not None:
            return rows, self._diverged(reason, rows[-1])
        if interrupted:
            return rows, Outcome("interrupted", "stopped on request", trainee.step)
        return rows, None

    def _look_back(self, rows: list[StepRecord]) -> tuple[str | None, list[StepRecord]]:
        """Check a segment's losses after the fact; rows after a divergence are left out."""
        for k, row in enumerate(rows):
            reason = self.watch.see(row.loss)
            if reason is not None:
                return reason, rows[: k + 1]
        return None, rows

    def _diverged(self, reason: str, row: StepRecord) -> Outcome:
        epoch = row.step // self.steps_per_epoch + 1
        at = f"at step {row.step} (epoch {epoch}), lr {row.lr[0]:.4g}"
        return Outcome("diverged", f"{reason} {at}", row.step)

    def _rates(self, first: int, last: int) -> tuple[list[list[float]], list[float] | None]:
        """LRs [group][step] of the steps first..last-1, and the momentum where it is driven."""
        steps = np.arange(first, last)
        schedules = list(self.trainee.schedules.values())
        lrs = [schedule(steps).tolist() for schedule in schedules]
        momenta = schedules[0].momentum(steps)
        return lrs, None if momenta is None else momenta.tolist()

    def _rows(
        self,
        first: int,
        losses: list[float],
        norms: list[float],
        lrs: list[list[float]],
        momenta: list[float] | None,
        since: _Since,
    ) -> list[StepRecord]:
        rows = []
        for k, loss in enumerate(losses):
            step = first + k
            lr = tuple(group[k] for group in lrs)
            norm = norms[k] if k < len(norms) else None
            rows.append(StepRecord(step, lr, loss, norm, momenta[k] if momenta else None))
            samples = self._samples(step)
            since.loss += loss * samples
            since.samples += samples
            self.last_lr = lr
        return rows

    def _samples(self, step: int) -> int:
        """Training rows of update `step`: the last one of an epoch may have fewer."""
        size = self.batch_size * self.settings.accumulate
        begin = step % self.steps_per_epoch * size
        return min(size, len(self.data.train) - begin)

    def _batches(self, step: int) -> tuple[list[tuple[Tensor, Tensor]], int]:
        """The batches of update `step`, and how many rows they have together."""
        epoch = step // self.steps_per_epoch
        if self._order is None or self._order[0] != epoch:
            order = epoch_order(len(self.data.train), self.seed, epoch)
            self._order = epoch, order.to(self.trainee.device)
        begin = step % self.steps_per_epoch * self.batch_size * self.settings.accumulate
        samples = self._samples(step)
        rows = self._order[1][begin : begin + samples]
        batches = [self.data.train.batch(chunk) for chunk in torch.split(rows, self.batch_size)]
        if self.data.augment is not None:
            chance = augmentation_generator(self.seed, step, self.trainee.device)
            batches = [(self.data.augment(x, chance), y) for x, y in batches]
        return batches, samples

    def _next_stop(self) -> int:
        """The step before which the loop must come up for air."""
        step = self.trainee.step
        epoch_end = (step // self.steps_per_epoch + 1) * self.steps_per_epoch
        evaluation = (step // self.evaluate_every + 1) * self.evaluate_every
        return min(epoch_end, evaluation, step + SEGMENT, self.units.total_steps)

    def _row_is_due(self) -> bool:
        step = self.trainee.step
        at_end = step >= self.units.total_steps
        return at_end or step % self.steps_per_epoch == 0 or step % self.evaluate_every == 0

    def _epoch_record(self, since: _Since) -> EpochRecord:
        """The row of this moment, with an evaluation where one is due."""
        trainee = self.trainee
        due = trainee.step % self.evaluate_every == 0 or trainee.step >= self.units.total_steps
        metrics = self._evaluate() if due else {}
        speed = since.samples / since.training_seconds if since.training_seconds > 0 else 0.0
        return EpochRecord(
            epoch=(trainee.step - 1) // self.steps_per_epoch + 1,
            step=trainee.step,
            samples=trainee.samples,
            lr=self.last_lr,
            train_loss=since.loss / since.samples if since.samples else math.nan,
            metrics=metrics,
            grad_norm=sum(since.norms) / len(since.norms) if since.norms else None,
            seconds=time.perf_counter() - since.begun,
            samples_per_second=speed,
        )

    def _evaluate(self) -> dict[str, float]:
        return evaluate(self.trainee, self.data.val, self.batch_size, self.settings.val_rows)

    def _take(self, record: EpochRecord) -> str | None:
        """Show an evaluation to whatever listens to metrics; a reason to stop early, or None."""
        if not record.metrics:
            return None
        seen = {"train_loss": record.train_loss, **record.metrics}
        for schedule in self.trainee.schedules.values():
            schedule.observe(record.step, seen)
        if self.early_stop is None:
            return None
        return self.early_stop.see(seen[self.early_stop.settings.metric])


def evaluate(
    trainee: Trainee, source: Source, batch_size: int, limit: int | None = None
) -> dict[str, float]:
    """Metrics over all rows of `source` (or the first `limit`), exact to the last partial batch."""
    model = trainee.evaluated
    was_training = model.training
    model.eval()
    count = len(source) if limit is None else min(limit, len(source))
    rows = torch.arange(count, device=trainee.device)
    total: Tensor | None = None
    with torch.no_grad(), trainee.autocast():
        for chunk in torch.split(rows, max(batch_size, EVALUATION_ROWS)):
            x, y = source.batch(chunk)
            sums = trainee.task.evaluate_batch(model(x), y)
            total = sums if total is None else total + sums
    model.train(was_training)
    return {} if total is None else trainee.task.metrics(total)


def _floats(values: list[float | Tensor]) -> list[float]:
    """Plain floats; tensors are fetched from their device at once."""
    if values and isinstance(values[0], Tensor):
        return torch.stack([v for v in values if isinstance(v, Tensor)]).tolist()
    return [float(value) for value in values]

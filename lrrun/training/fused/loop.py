"""The training loop of K replicas: the second producer of the records that Loop yields for one.

Steps run in segments, as in Loop. A replica that has ended is left as it is; when half of a stack
has, the others are stacked anew.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lrrun.records import EpochRecord, Incident, Outcome, StepBlock
from lrrun.training.datasets import in_order
from lrrun.training.evaluation import ROWS
from lrrun.training.fused.replica import Replica
from lrrun.training.fused.updates import FusedUpdates, Stretch
from lrrun.training.state import capture
from lrrun.training.tally import Tally
from lrrun.training.timetable import Timetable
from lrrun.training.watch import Trouble

Happening = StepBlock | EpochRecord | Incident | Outcome
Round = list[tuple[Replica, Happening]]

STOPPED = "stopped on request"

EVALUATED_NUMBERS = 1 << 22
"""Inputs, or outputs, of all replicas' rows in one batch of an evaluation: 16 MiB of float32."""


class FusedLoop:
    """Trains replicas to the ends of their runs; `rounds()` is the generator.

    They are prepared alike, on the same data, and stand at the same step. `stop_requested` is asked
    before every step and inside evaluations. `states`, one a replica, are those from which they go
    on. Raises NotFusable, naming the operation, where they cannot be stacked.
    """

    def __init__(
        self,
        replicas: Sequence[Replica],
        stop_requested: Callable[[], bool] = lambda: False,
        states: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        first = replicas[0].prepared
        self.data = first.data
        self.settings = first.experiment.train
        self.batch_size = first.experiment.dataset.batch_size
        self.timetable: Timetable = replicas[0].timetable
        self.task = first.trainee.task
        self.stop_requested = stop_requested
        self.step = replicas[0].trainee.step
        self.updates = FusedUpdates(replicas, self.data, stop_requested, states)
        limit = self.settings.val_rows
        count = len(self.data.val)
        self._val_rows = count if limit is None else min(limit, count)
        step = min(self.step, self.timetable.total_steps - 1)
        self.updates.probe(step, min(self._val_rows, self._evaluated_rows))
        self._row_at = replicas[0].row_at
        self._row_began = time.perf_counter()

    def rounds(self) -> Iterator[Round]:
        """Everything that is still to come of every run, then how it ended.

        What comes in one round has happened at the same time, and nothing moves on before the next
        one is asked for. What is saved of a replica while it is `at_rest`, or after its outcome
        unless that is a divergence, goes on from there.
        """
        while True:
            if self.step != self._row_at and self.timetable.row_is_due(self.step):
                rows = self._epoch_records()
                if rows is None:
                    break
                yield rows
            yield self._completed()
            if not self.updates.active.any():
                return
            self._close_ranks()
            last = self.timetable.next_stop(self.step)
            columns, errors = self.updates.columns(self.step, last)
            yield [self._ended(k, "failed", str(error)) for k, error in errors.items()]
            if not self.updates.active.any():
                return
            stretch = self.updates.make(self.step, last, columns)
            self.step += len(stretch.rows)
            yield from self._told(stretch)
            if self.step < last and self.updates.active.any():
                break
        yield [(each, Outcome("interrupted", STOPPED, self.step)) for each in self.updates.alive]

    def _completed(self) -> Round:
        """The outcomes of those whose runs are over at this step."""
        total = self.timetable.total_steps
        ends: Round = []
        for k, replica in enumerate(self.updates.replicas):
            if not self.updates.active[k]:
                continue
            reason = replica.early_stop.reason if replica.early_stop is not None else None
            if reason is not None:
                ends.append(self._ended(k, "completed", f"stopped early: {reason}"))
            elif self.step >= total:
                ends.append(self._ended(k, "completed", f"all {total} steps done"))
        return ends

    def _ended(self, k: int, status: Any, sentence: str) -> tuple[Replica, Outcome]:
        self.updates.freeze(k)
        replica = self.updates.replicas[k]
        return replica, Outcome(status, sentence, replica.trainee.step)

    def _close_ranks(self) -> None:
        """Stack those that are still on their way anew, once they are half of the stack."""
        alive = self.updates.alive
        if 2 * len(alive) <= len(self.updates.replicas):
            states = [capture(each) for each in alive]
            self.updates = FusedUpdates(alive, self.data, self.stop_requested, states)

    def _told(self, stretch: Stretch) -> Iterator[Round]:
        """What a stretch was for every replica that took part in it: updates, skips, outcomes."""
        took_part = [
            k for k, on in enumerate(self.updates.active.tolist()) if on or k in stretch.ends
        ]
        losses_K = stretch.losses.T.tolist()
        norms_K = None if stretch.norms is None else stretch.norms.T.tolist()
        trails = self.updates.feed.trails(
            [each.updates.trail for each in self.updates.replicas], stretch.first, self.step
        )
        blocks: Round = []
        incidents: Round = []
        ends: Round = []
        for k in took_part:
            replica = self.updates.replicas[k]
            at, trouble = stretch.ends.get(k, (len(stretch.rows) - 1, None))
            block = _block(replica, stretch, at + 1, k, losses_K, norms_K)
            skips = stretch.skips.get(k, ())
            _sum_up(replica, block, stretch, {at for at, _ in skips}, trouble)
            replica.updates.tally.training_seconds += stretch.seconds / len(took_part)
            replica.updates.trail = trails[k]
            replica.handed = not skips
            blocks.append((replica, block))
            incidents += [(replica, self._skip(stretch.first + at, why)) for at, why in skips]
            if trouble is not None:
                ends.append((replica, self._diverged(trouble, block)))
        if stretch.rows:
            yield blocks
        fallback = self.updates.fallback()
        if fallback is not None:
            told = Incident("fallback", stretch.first, fallback)
            incidents += [(replica, told) for replica, _ in blocks]
        for replica, _ in incidents:
            replica.handed = True
        yield incidents
        yield ends

    def _skip(self, step: int, why: Trouble) -> Incident:
        return Incident("skip", step, f"the update was left out: {why.reason}")

    def _diverged(self, trouble: Trouble, block: StepBlock) -> Outcome:
        step = block.first + len(block) - 1
        epoch = self.timetable.plan.at(step)[0] + 1
        at = f"at step {step} (epoch {epoch}), lr {block.lr[0][-1]:.4g}"
        return Outcome("diverged", f"{trouble.reason} {at}", step)

    def _epoch_records(self) -> Round | None:
        """The rows of this moment, with an evaluation where one is due; None where a request to
        stop came in first.

        The seconds of a row are the replica's share of the time that all of them took.
        """
        due = self.timetable.evaluation_is_due(self.step)
        sums_K = self._evaluate() if due else torch.empty(0)
        if sums_K is None:
            return None
        epoch = self.timetable.plan.at(self.step - 1)[0] + 1
        now = time.perf_counter()
        seconds = (now - self._row_began) / len(self.updates.alive)
        self._row_at, self._row_began = self.step, now
        rows: Round = []
        for k, replica in enumerate(self.updates.replicas):
            if not self.updates.active[k]:
                continue
            metrics = self.task.metrics(sums_K[k]) if due and len(sums_K) else {}
            row = _row(replica, epoch, metrics, seconds)
            self._show(k, row)
            rows.append((replica, row))
        return rows

    def _evaluate(self) -> Tensor | None:
        """The sums over the validation set, one entry a replica; None where asked to stop."""
        total: Tensor | None = None
        model, ema = self.updates.model, self.updates.ema
        batches = in_order(self.data.val, self._val_rows, self._evaluated_rows, self.updates.device)
        for x, y in batches:
            if self.stop_requested():
                return None
            sums_K = model.evaluate(x, y, ema)
            total = sums_K if total is None else total + sums_K
        return torch.empty(0) if total is None else total.cpu()

    @property
    def _evaluated_rows(self) -> int:
        """Rows of a validation batch, so that inputs and outputs of all replicas stay small."""
        facts = self.data.facts
        numbers = max(math.prod(facts.inputs), facts.outputs * (facts.tokens_per_row or 1))
        rows = EVALUATED_NUMBERS // (numbers * len(self.updates.replicas))
        return max(self.batch_size, min(ROWS, rows))

    def _show(self, k: int, record: EpochRecord) -> None:
        """Show an evaluation to whatever listens to metrics."""
        if not record.metrics:
            return
        replica = self.updates.replicas[k]
        seen = {"train_loss": record.train_loss, **record.metrics}
        trainee = replica.trainee
        changed = [
            schedule.observe(record.step, seen)
            for schedule in (*trainee.schedules.values(), *trainee.co_schedules.values())
        ]
        if any(changed):
            self.updates.ahead[k].forget()
        if replica.early_stop is not None:
            replica.early_stop.see(seen[replica.early_stop.settings.metric])


def _block(
    replica: Replica,
    stretch: Stretch,
    steps: int,
    k: int,
    losses_K: list[list[float]],
    norms_K: list[list[float]] | None,
) -> StepBlock:
    """The first `steps` updates of a stretch, as this replica made them."""
    columns = stretch.columns[k]
    driven = replica.prepared.trainee.driven
    return StepBlock(
        stretch.first,
        tuple(columns.lr[:steps].T.tolist()),
        losses_K[k][:steps],
        None if norms_K is None else norms_K[k][:steps],
        tuple(columns.driven[name][:steps].tolist() for name in driven),
    )


def _sum_up(
    replica: Replica, block: StepBlock, stretch: Stretch, skipped: set[int], trouble: Trouble | None
) -> None:
    """Add a stretch to what is known since the last row, and move the replica on."""
    tally, trainee = replica.updates.tally, replica.trainee
    made = len(block) - (trouble is not None)
    counted = [at for at in range(made) if at not in skipped] if skipped else range(made)
    rows = stretch.rows
    for at in counted:
        tally.loss += block.loss[at] * rows[at]
        tally.samples += rows[at]
    if block.grad_norm is not None:
        tally.norm += sum(block.grad_norm[at] for at in counted)
        tally.norms += len(counted)
    if made:
        tally.lr = tuple(column[made - 1] for column in block.lr)
    trainee.step = block.first + made
    trainee.samples += sum(rows[:made])


def _row(replica: Replica, epoch: int, metrics: Mapping[str, float], seconds: float) -> EpochRecord:
    """The row of this moment; the sums begin anew."""
    trainee, tally = replica.trainee, replica.updates.tally
    replica.updates.tally = Tally(lr=tally.lr)
    replica.row_at = trainee.step
    return EpochRecord(
        epoch=epoch,
        step=trainee.step,
        samples=trainee.samples,
        lr=tally.lr,
        train_loss=tally.loss / tally.samples if tally.samples else math.nan,
        metrics=metrics,
        grad_norm=tally.norm / tally.norms if tally.norms else None,
        seconds=seconds,
        samples_per_second=tally.samples_per_second,
    )

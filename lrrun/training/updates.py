"""Stretches of updates: made one after another, watched, and told as records."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lrrun.config.train import Train
from lrrun.records import Incident, StepRecord
from lrrun.training.captured import not_captured
from lrrun.training.devices import is_waited_for
from lrrun.training.feed import Feed
from lrrun.training.rates import Cut, Rates
from lrrun.training.tally import Tally
from lrrun.training.trainee import Trainee
from lrrun.training.update import Update
from lrrun.training.watch import DivergenceWatch, Trouble
from lrrun.training.whole_step import WholeStep

SKIPS_IN_A_ROW = 10
"""More skipped updates than this one after another are a divergence: no batch is to blame."""

SEGMENT_SECONDS = 0.5
"""After so long a segment of watched updates ends where it is, so that its rows are seen."""

Rows = list[StepRecord | Incident]


class Updates:
    """Makes a trainee's updates; what it remembers between them is part of a run's state.

    On the CPU, where reading a loss costs nothing, each loss and its gradients are looked at before
    the update is made; so they are under fp16, whose scaler waits for the device anyway. Elsewhere
    nothing waits, and a stretch is looked at when it is over; but where updates may be skipped, the
    first one is looked at before: it makes the optimizer's state. A skipped update is a step like
    any other for schedule and data: both stay functions of the step.
    """

    def __init__(
        self,
        trainee: Trainee,
        settings: Train,
        feed: Feed,
        stop_requested: Callable[[], bool],
        cuts: Sequence[Cut],
    ) -> None:
        self.trainee = trainee
        self.feed = feed
        self.stop_requested = stop_requested
        self.cuts = cuts
        self.update = Update(trainee, settings)
        self.whole = WholeStep(self.update) if trainee.captured_whole else None
        self.watch = DivergenceWatch(settings.divergence_factor, settings.spike_factor)
        self.tally = Tally()
        self.skips = 0
        """Updates that were skipped since the last one that was made."""
        self.stopped = False
        """Was a request to stop found before an update?"""
        self.trail = ""
        """A hash over which rows every update so far has taken."""
        self._may_skip = settings.on_divergence == "skip"
        self._fell_back = False

    def make(self, last: int) -> tuple[Rows, Trouble | None]:
        """Make the updates up to, without, step `last`: their records, and what went wrong.

        Stops before the next update where that is requested, and at an update that is a divergence;
        its record is then the last one. Updates that are watched may end before `last` to be told:
        none depends on where that is.
        """
        begun = time.perf_counter()
        first = self.trainee.step
        rates = self._rates(first, last)
        if is_waited_for(self.trainee.device) or self.trainee.scaler is not None:
            rows, trouble = self._watched(rates, last)
        else:
            rows, trouble = self._hardly_watched(rates, last)
        self.tally.training_seconds += time.perf_counter() - begun
        return [*self._fallback(), *rows], trouble

    def first_update(self) -> tuple[float, float]:
        """Make the run's first update alone: its loss, and the norm of its gradients."""
        loss, _ = self._gradients(self._rates(0, 1), 0)
        norm = self.update.norm()
        self.update.apply()
        return float(loss), float(norm)

    def _watched(self, rates: Rates, last: int) -> tuple[Rows, Trouble | None]:
        rows: Rows = []
        until = time.perf_counter() + SEGMENT_SECONDS
        for step in range(self.trainee.step, last):
            if self._is_stopped():
                break
            tensor, samples = self._gradients(rates, step)
            loss, norm = tensor.item(), None
            trouble = self.watch.see(loss)
            if trouble is None:
                norm, made = self.update.apply()
                trouble = None if made else self._bad_gradients()
            row = self._row(rates, step, loss, None if norm is None else norm.item())
            if not self._judge(row, samples, trouble, rows):
                return rows, trouble
            if trouble is not None:
                self.update.undo_forward()
            self._advance(step, samples)
            if time.perf_counter() >= until:
                break
        return rows, None

    def _hardly_watched(self, rates: Rates, last: int) -> tuple[Rows, Trouble | None]:
        """Without waiting for the device, once an update was made where some may be skipped."""
        rows: Rows = []
        while self._may_skip and self.skips == self.trainee.step < last:
            told, trouble = self._watched(rates, self.trainee.step + 1)
            rows += told
            if trouble is not None or not told:
                return rows, trouble
        told, trouble = self._unwatched(rates, last)
        return [*rows, *told], trouble

    def _unwatched(self, rates: Rates, last: int) -> tuple[Rows, Trouble | None]:
        """What counts as a spike is, for the whole stretch, what does before its first update."""
        seen: list[Tensor] = []
        limit, begin = self.watch.limit, self.trainee.step
        numbers = self._numbers(rates, limit)
        for step in range(begin, last):
            if self._is_stopped():
                break
            if self.whole is None:
                loss, samples = self._gradients(rates, step)
                norm, good = self.update.apply_unseen(loss, limit)
                told = torch.stack([loss, loss if norm is None else norm, good.to(loss.dtype)])
            else:
                batches, samples = self._batches(rates, step)
                told = self.whole(batches, numbers[step - rates.first]).clone()
            seen.append(told)
            self._advance(step, samples)
        rows: Rows = []
        values = torch.stack(seen).tolist() if seen else []
        for step, (value, norm_, good_) in enumerate(values, start=begin):
            trouble = self.watch.see(value, limit)
            if trouble is None and not good_:
                trouble = self._bad_gradients()
            row = self._row(rates, step, value, norm_ if self.update.grad_norm else None)
            if not self._judge(row, self.feed.plan.at(step)[2], trouble, rows):
                return rows, trouble
        return rows, None

    def _numbers(self, rates: Rates, limit: float) -> Tensor:
        """What a captured update reads on the device: a row for each step of the stretch."""
        if self.whole is None:
            return torch.empty(0)
        rows = [(*lrs, limit) for lrs in rates.lr]
        return torch.tensor(rows, dtype=torch.float64, device=self.trainee.device)

    def _fallback(self) -> Rows:
        """Say once that a capture has failed."""
        source = self.whole or self.trainee.traced
        if self._fell_back or source is None or source.failed is None:
            return []
        self._fell_back = True
        return [Incident("fallback", self.trainee.step, not_captured(source.failed))]

    def _rates(self, first: int, last: int) -> Rates:
        trainee = self.trainee
        plan = self.feed.plan if "batch_size" in trainee.driven else None
        return Rates.of(trainee.schedules, trainee.co_schedules, plan, first, last, self.cuts)

    def _gradients(self, rates: Rates, step: int) -> tuple[Tensor, int]:
        """The loss of update `step`, its gradients ready, and its rows' number."""
        batches, samples = self._batches(rates, step)
        return self.update.gradients(batches, samples), samples

    def _batches(self, rates: Rates, step: int) -> tuple[list[tuple[Tensor, Tensor]], int]:
        """What update `step` learns from, its rates set, and its rows' number."""
        batches, samples = self.feed.batches(step)
        self.update.set_rates(rates.lr_at(step), rates.driven_at(step))
        return batches, samples

    def _is_stopped(self) -> bool:
        self.stopped = self.stop_requested()
        return self.stopped

    def _bad_gradients(self) -> Trouble:
        scaled = self.trainee.scaler is not None
        text = "stayed non-finite at every loss scale" if scaled else "became non-finite"
        return Trouble(f"the gradients {text}", of_batch=True)

    def _row(self, rates: Rates, step: int, loss: float, norm: float | None) -> StepRecord:
        at = rates.driven_at(step)
        driven = tuple(at[name] for name in self.trainee.driven)
        return StepRecord(step, rates.lr_at(step), loss, norm, driven)

    def _judge(self, row: StepRecord, samples: int, trouble: Trouble | None, rows: Rows) -> bool:
        """Put the update on record; may the run go on?"""
        rows.append(row)
        if trouble is None:
            self.skips = 0
            self.tally.add(row, samples)
            return True
        self.skips += 1
        if not self._may_skip or not trouble.of_batch or self.skips > SKIPS_IN_A_ROW:
            return False
        self.tally.lr = row.lr
        rows.append(Incident("skip", row.step, f"the update was left out: {trouble.reason}"))
        return True

    def _advance(self, step: int, samples: int) -> None:
        self.trail = self.feed.trail(self.trail, step)
        self.trainee.step = step + 1
        self.trainee.samples += samples

"""Stretches of updates of K replicas at once: made, watched, and told in columns.

Shape suffixes: S steps of a stretch, K replicas.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lrrun.config.models import CustomModel
from lrrun.config.train import Train
from lrrun.errors import LrrunError
from lrrun.training.captured import not_captured
from lrrun.training.datasets import Splits
from lrrun.training.devices import is_waited_for
from lrrun.training.fused.columns import Ahead, Columns
from lrrun.training.fused.ema import FusedEma
from lrrun.training.fused.faithful import check_faithful
from lrrun.training.fused.feed import FusedFeed
from lrrun.training.fused.numbers import Driver, Numbers
from lrrun.training.fused.optimizers import FusedOptimizer
from lrrun.training.fused.replica import Replica
from lrrun.training.fused.stack import FusedModel
from lrrun.training.fused.watches import Watches
from lrrun.training.fused.whole_step import StackedStep
from lrrun.training.preparation import Prepared
from lrrun.training.updates import SKIPS_IN_A_ROW
from lrrun.training.watch import Trouble

Floats = NDArray[np.float64]


@dataclass
class Stretch:
    """What came of the updates from `first` on; replicas by their place in the stack.

    `rows` holds the training rows of each update. `skips` and `ends` say at which of the updates,
    from 0, a replica's was left out, or was its last one.
    """

    first: int
    columns: Sequence[Columns]
    rows: list[int]
    losses: Floats
    norms: Floats | None
    skips: dict[int, list[tuple[int, Trouble]]] = field(default_factory=dict)
    ends: dict[int, tuple[int, Trouble]] = field(default_factory=dict)
    seconds: float = 0.0


class FusedUpdates:
    """The stack of those replicas that are still on their way.

    As Updates does: on the CPU each loss and its gradients are looked at before the update is made;
    elsewhere nothing waits, and a stretch is looked at when it is over.
    """

    def __init__(
        self,
        replicas: Sequence[Replica],
        data: Splits,
        stop_requested: Callable[[], bool],
        states: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """`states`, one a replica, are those that they go on from; else they begin."""
        first = replicas[0].prepared
        trainees = [each.prepared.trainee for each in replicas]
        settings = [each.prepared.experiment.train for each in replicas]
        self.replicas = list(replicas)
        self.stop_requested = stop_requested
        self.device = first.trainee.device
        self.feed = FusedFeed(
            data,
            first.clock.batches,
            first.experiment.dataset.batch_size,
            [each.prepared.experiment.seeds[0] for each in replicas],
            self.device,
            first.clock.units.total_steps,
        )
        for trainee, state in zip(trainees, states, strict=False):
            trainee.model.load_state_dict(state["model"])
        self.model = _stack([each.model for each in trainees], first, self.feed.shared)
        self.optimizer = FusedOptimizer(self.model, [each.optimizer for each in trainees])
        decays = [each.ema for each in settings if each.ema is not None]
        self.ema = FusedEma(self.model, decays) if decays else None
        for k, state in enumerate(states):
            self.optimizer.load(k, state["optimizer"])
            if self.ema is not None:
                self.ema.load(k, state["ema"])
        self.grad_norm = settings[0].grad_norm
        self.may_skip = [each.on_divergence == "skip" for each in settings]
        self._norms = _norms(self.optimizer, settings)
        self._unseen = StackedStep(
            self.model,
            self.optimizer,
            self.ema,
            norms=self._norms,
            puts_back=any(self.may_skip),
            captures=bool(first.tuning.captured),
        )
        self._fell_back = False
        self.active = np.ones(len(replicas), np.bool_)
        self._skipping = any(each.updates.skips for each in replicas)
        self._active_K: Tensor | None = None
        total_steps = first.clock.units.total_steps
        self.ahead = [Ahead(each, first.clock.batches, total_steps) for each in trainees]
        begun = [each["optimizer"] for each in states] or [
            {"param_groups": each.optimizer.param_groups} for each in trainees
        ]
        self.driver = Driver(trainees, begun, self.device)
        for k, replica in enumerate(replicas):
            replica.place.joined, replica.place.k = self, k
        self.watches = Watches([each.updates.own_watch for each in replicas])

    @property
    def alive(self) -> list[Replica]:
        """Those that are still on their way."""
        return [each for each, on in zip(self.replicas, self.active, strict=True) if on]

    def probe(self, step: int, evaluated_rows: int) -> None:
        """Raise NotFusable, naming the operation, where an update, or an evaluation of batches of
        so many rows, cannot be made for all.
        """
        batches, _ = next(self.feed.updates(step, step + 1))
        self.model.probe(*batches[0], evaluated_rows)
        last = self.replicas[-1].prepared
        if isinstance(last.experiment.model, CustomModel):
            check_faithful(self.model, last.trainee, *batches[0])

    def freeze(self, k: int) -> None:
        """Leave a replica as it is from now on."""
        self.active[k] = False
        self._active_K = torch.from_numpy(self.active.copy()).to(self.device)

    def columns(self, first: int, last: int) -> tuple[list[Columns], dict[int, LrrunError]]:
        """Every replica's columns, and the errors of those whose schedules have none."""
        found: list[Columns | None] = []
        errors: dict[int, LrrunError] = {}
        for k, ahead in enumerate(self.ahead):
            try:
                found.append(ahead.between(first, last) if self.active[k] else None)
            except LrrunError as error:
                errors[k] = error
                found.append(None)
        known = next((each for each in found if each is not None), None)
        return [known if each is None else each for each in found if known], errors

    def make(self, first: int, last: int, columns: Sequence[Columns]) -> Stretch:
        """Make the updates `first` to `last` - 1 of all that are active.

        Stops before the next update where that is requested, or none is active any more.
        """
        begun = time.perf_counter()
        numbers = self.driver.numbers(columns)
        count = len(self.replicas)
        stretch = Stretch(
            first,
            columns,
            [],
            np.empty((last - first, count)),
            np.empty((last - first, count)) if self.grad_norm else None,
        )
        produce = self._watched if is_waited_for(self.device) else self._unwatched
        with np.errstate(all="ignore"):  # a loss that is not finite is a finding, no warning
            produce(stretch, numbers, last)
        stretch.seconds = time.perf_counter() - begun
        return stretch

    def _watched(self, stretch: Stretch, numbers: Numbers, last: int) -> None:
        for at, (batches, rows) in enumerate(self._batches(stretch.first, last)):
            losses = self.model.gradients(batches, rows).numpy()
            stretch.rows.append(rows)
            stretch.losses[at] = losses
            losses_K = stretch.losses[at]
            troubles = self.watches.see(losses_K, self.active)
            norms = None if self._norms is None else self._norms()
            finite = np.isfinite((self.optimizer.sums() if norms is None else norms).numpy())
            if stretch.norms is not None and norms is not None:
                stretch.norms[at] = norms.numpy()
            made_K = self._active_K
            if self._judge(stretch, at, troubles, finite):
                made_K = self._all_but(troubles)
                self.model.undo_forward(made_K)
            numbers.give(self.optimizer, at)
            self._step(made_K)
            if stretch.ends and not self.active.any():
                return

    def _unwatched(self, stretch: Stretch, numbers: Numbers, last: int) -> None:
        """What counts as a spike is, for the whole stretch, what does before its first update."""
        limits = self.watches.limits
        table = numbers.table(np.stack([limits, self.active]))
        seen: list[Tensor] = []
        for at, (batches, rows) in enumerate(self._batches(stretch.first, last)):
            seen.append(self._unseen(batches, numbers.names, table[at]).clone())
            stretch.rows.append(rows)
        if not seen:
            return
        numbers.give(self.optimizer, len(seen) - 1)  # a replay does not tell the optimizer
        values = torch.stack(seen).double().cpu().numpy()
        for at, (losses, norms, good) in enumerate(values):
            stretch.losses[at] = losses
            if stretch.norms is not None:
                stretch.norms[at] = norms
            troubles = self.watches.see(stretch.losses[at], self.active, limits)
            self._judge(stretch, at, troubles, good > 0)

    def _batches(self, first: int, last: int) -> Iterator[tuple[list[tuple[Tensor, Tensor]], int]]:
        for each in self.feed.updates(first, last):
            if self.stop_requested():
                return
            yield each

    def fallback(self) -> str | None:
        """Say once that a capture has failed."""
        failed = self._unseen.failed
        if failed is None or self._fell_back:
            return None
        self._fell_back = True
        return not_captured(failed)

    def _step(self, made_K: Tensor | None) -> None:
        self.optimizer.step(made_K)
        if self.ema is not None:
            self.ema.update(made_K)

    def _all_but(self, troubles: Mapping[int, Trouble]) -> Tensor:
        made = self.active.copy()
        made[list(troubles)] = False
        return torch.from_numpy(made)

    def _judge(
        self, stretch: Stretch, at: int, troubles: dict[int, Trouble], finite: NDArray[np.bool_]
    ) -> bool:
        """Skip or end the replicas that are in trouble, `finite` says whose gradients are.

        Adds to `troubles`; False where all is well.
        """
        if not (troubles or self._skipping) and finite.all():
            return False
        for k in np.flatnonzero(self.active & ~finite).tolist():
            bad = Trouble("the gradients became non-finite", of_batch=True)
            troubles.setdefault(k, bad)
        if not troubles and not self._skipping:
            return False
        for k in np.flatnonzero(self.active).tolist():
            updates = self.replicas[k].updates
            trouble = troubles.get(k)
            updates.skips = 0 if trouble is None else updates.skips + 1
            if trouble is None:
                continue
            if self.may_skip[k] and trouble.of_batch and updates.skips <= SKIPS_IN_A_ROW:
                stretch.skips.setdefault(k, []).append((at, trouble))
            else:
                stretch.ends[k] = at, trouble
                self.freeze(k)
        self._skipping = any(each.updates.skips for each in self.alive)
        return bool(troubles)


def _stack(models: Sequence[nn.Module], first: Prepared, shared_data: bool) -> FusedModel:
    return FusedModel(
        models,
        first.trainee.task,
        shared_data=shared_data,
        precision=first.experiment.train.precision,
        compile=bool(first.tuning.compiled),
        architecture=_architecture(first),
    )


def _norms(optimizer: FusedOptimizer, settings: Sequence[Train]) -> Callable[[], Tensor] | None:
    """Gives the norms of the gradients, before any clipping, where somebody asks for them."""
    limits = [float("inf") if each.clip_norm is None else each.clip_norm for each in settings]
    if np.isfinite(limits).any():
        max_norms_K = torch.tensor(limits, device=optimizer.model.device)
        return functools.partial(optimizer.clip, max_norms_K)
    return optimizer.norms if settings[0].grad_norm else None


def _architecture(prepared: Prepared) -> Hashable:
    """Equal for replicas whose passes are the same; None where somebody's code may differ."""
    experiment = prepared.experiment
    if isinstance(experiment.model, CustomModel):
        return None
    smoothing = experiment.train.label_smoothing
    return repr(experiment.model), repr(prepared.data.facts), smoothing

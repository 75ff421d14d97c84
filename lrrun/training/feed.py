"""The batches of every update, by its index: a position in the data needs no other state."""

from __future__ import annotations

import torch
from torch import Tensor

from lrrun.batches import Batches
from lrrun.training.datasets import (
    MapStyle,
    RowsAhead,
    Splits,
    augmentation_generator,
    epoch_order,
)
from lrrun.training.trail import extended, order_digest

EPOCH_BYTES = 16 << 20
"""Training inputs up to this size are put into an epoch's order at once, and batches cut off."""


class Feed:
    """Training batches on a device, each a pure function of (seed, step).

    An update's rows come in chunks of at most `batch_size`, whose gradients are accumulated. Where
    the data are small, a whole epoch is gathered in its order, so that a batch is a view and costs
    nothing; where they are large, each batch is gathered from its rows. Rows that somebody's code
    makes come from RowsAhead.
    """

    def __init__(
        self,
        data: Splits,
        plan: Batches,
        batch_size: int,
        seed: int,
        device: torch.device,
        last: int | None = None,
    ) -> None:
        """`last`, where it is known, is how many updates the run has."""
        self.data = data
        self.plan = plan
        self.batch_size = batch_size
        self.seed = seed
        self.device = device
        self._epoch = -1
        self._order = torch.empty(0)
        self._order_digest = b""
        self._gathers_epochs = _is_small(data)
        self._gathered: tuple[Tensor, Tensor] | None = None
        self._ahead: RowsAhead | None = None
        if isinstance(data.train, MapStyle):
            self._ahead = RowsAhead(data.train, plan, batch_size, seed, last)

    def batches(self, step: int) -> tuple[list[tuple[Tensor, Tensor]], int]:
        """The batches of update `step`, and how many rows they have together."""
        epoch, begin, samples = self.plan.at(step)
        self._begin_epoch(epoch)
        if self._ahead is not None:
            batches = self._ahead.of_update(step)
        else:
            batches = [
                self._chunk(start, min(self.batch_size, begin + samples - start))
                for start in range(begin, begin + samples, self.batch_size)
            ]
        if self.data.augment is not None:
            chance = augmentation_generator(self.seed, step, self.device)
            batches = [(self.data.augment(x, chance), y) for x, y in batches]
        return batches, samples

    def _chunk(self, begin: int, count: int) -> tuple[Tensor, Tensor]:
        """The rows at these places of the epoch's order."""
        if self._gathered is None:
            return self.data.train.batch(self._order[begin : begin + count])
        x, y = self._gathered
        return x[begin : begin + count], y[begin : begin + count]

    def trail(self, before: str, step: int) -> str:
        """A hash over which rows all updates up to `step` took, from the hash before that update.

        Two runs have the same one when, step by step, they took the same rows in the same order.
        """
        epoch, begin, samples = self.plan.at(step)
        self._begin_epoch(epoch)
        return extended(before, self._order_digest, begin, samples)

    def _begin_epoch(self, epoch: int) -> None:
        if self._epoch == epoch:
            return
        order = epoch_order(len(self.data.train), self.seed, epoch)
        self._order_digest = order_digest(order)
        self._order = order.to(self.device)
        self._gathered = self.data.train.batch(self._order) if self._gathers_epochs else None
        self._epoch = epoch


def _is_small(data: Splits) -> bool:
    """Does a whole epoch, as batches have it, take no more than EPOCH_BYTES?"""
    if isinstance(data.train, MapStyle):
        return False
    x, y = data.train.batch(torch.tensor([0]))
    return (x.nbytes + y.nbytes) * len(data.train) <= EPOCH_BYTES

"""The batches of K replicas: one for all where their seeds are equal, else one each.

Shape suffixes: K replicas, R rows of a stretch of updates, B rows of a batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from lrrun.batches import Batches
from lrrun.training.datasets import MapStyle, Splits, epoch_order
from lrrun.training.feed import Feed
from lrrun.training.trail import extended, order_digest

GATHERED_BYTES = 1 << 23
"""Inputs that are gathered at once: many small batches cost one indexing, a large one its own."""

Batch = tuple[Tensor, Tensor]


class FusedFeed:
    """Training batches on a device, the same as each replica's own Feed gives.

    x and y are (B, ...) where all seeds are equal, else (K, B, ...).
    """

    def __init__(
        self,
        data: Splits,
        plan: Batches,
        batch_size: int,
        seeds: Sequence[int],
        device: torch.device,
        total_steps: int,
    ) -> None:
        self.data = data
        self.plan = plan
        self.batch_size = batch_size
        self.device = device
        self.seeds = list(seeds)
        self.shared = len(set(seeds)) == 1
        self._digests: dict[int, bytes] = {}
        self._epoch = -1
        self._order_KN = torch.empty(0)
        self._solo: dict[int, Feed] = {}
        self._row_bytes = 1
        if isinstance(data.train, MapStyle) or data.augment is not None:
            self._solo = {
                seed: Feed(data, plan, batch_size, seed, device, total_steps) for seed in seeds
            }
        else:
            self._row_bytes = max(1, data.train.batch(torch.tensor([0]))[0].nbytes)

    def updates(self, first: int, last: int) -> Iterator[tuple[list[Batch], int]]:
        """(batches, rows of each replica) of the updates `first` to `last` - 1 of one epoch."""
        if self._solo:
            yield from map(self._stacked, range(first, last))
            return
        while first < last:
            end = self._reach(first, last)
            yield from self._gathered(first, end)
            first = end

    def trails(self, before: Sequence[str], first: int, last: int) -> list[str]:
        """Every replica's hash over the rows that it took, from the hash before `first`."""
        known: dict[tuple[int, str], str] = {}
        for seed, trail in set(zip(self.seeds, before, strict=True)):
            known[seed, trail] = self._trail(seed, trail, first, last)
        return [known[each] for each in zip(self.seeds, before, strict=True)]

    def _trail(self, seed: int, trail: str, first: int, last: int) -> str:
        for step in range(first, last):
            epoch, begin, rows = self.plan.at(step)
            self._begin_epoch(epoch)
            trail = extended(trail, self._digests[seed], begin, rows)
        return trail

    def _stacked(self, step: int) -> tuple[list[Batch], int]:
        """One update, made by each seed's own Feed: rows that code makes, or changes at random."""
        solo = {seed: feed.batches(step) for seed, feed in self._solo.items()}
        batches, rows = solo[self.seeds[0]]
        if self.shared:
            return batches, rows
        own = [solo[seed][0] for seed in self.seeds]
        xs = [torch.stack([each[chunk][0] for each in own]) for chunk in range(len(batches))]
        ys = [torch.stack([each[chunk][1] for each in own]) for chunk in range(len(batches))]
        return list(zip(xs, ys, strict=True)), rows

    def _reach(self, first: int, last: int) -> int:
        """The update before which a gathering of those from `first` on ends."""
        replicas = 1 if self.shared else len(self.seeds)
        rows = max(1, GATHERED_BYTES // (replicas * self._row_bytes))
        return max(first + 1, min(last, first + rows // self.plan.at(first)[2]))

    def _gathered(self, first: int, last: int) -> Iterator[tuple[list[Batch], int]]:
        """The same as `updates`, indexed at once: the rows of every update lie in one piece."""
        self._begin_epoch(self.plan.at(first)[0])
        places = [self.plan.at(step)[1:] for step in range(first, last)]
        taken = [self._order_KN[:, begin : begin + rows].reshape(-1) for begin, rows in places]
        x_R, y_R = self.data.train.batch(torch.cat(taken))
        sizes = [len(each) for each in taken]
        dim = 0 if self.shared else 1
        pieces = zip(torch.split(x_R, sizes), torch.split(y_R, sizes), places, strict=True)
        for x, y, (_, rows) in pieces:
            if not self.shared:
                x, y = (each.reshape(-1, rows, *each.shape[1:]) for each in (x, y))
            if rows <= self.batch_size:
                yield [(x, y)], rows
                continue
            chunks = (torch.split(each, self.batch_size, dim) for each in (x, y))
            yield list(zip(*chunks, strict=True)), rows

    def _begin_epoch(self, epoch: int) -> None:
        if self._epoch == epoch:
            return
        orders = {seed: epoch_order(len(self.data.train), seed, epoch) for seed in set(self.seeds)}
        self._digests = {seed: order_digest(order) for seed, order in orders.items()}
        seeds = self.seeds[:1] if self.shared else self.seeds
        self._order_KN = torch.stack([orders[seed] for seed in seeds]).to(self.device)
        self._epoch = epoch

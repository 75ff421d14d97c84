"""The batches of every update, by its index: a position in the data needs no other state."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from lrrun.batches import Batches
from lrrun.training.datasets import Splits, augmentation_generator, epoch_order


class Feed:
    """Training batches on a device, each a pure function of (seed, step).

    An update's rows come in chunks of at most `batch_size`, whose gradients are accumulated.
    """

    def __init__(
        self, data: Splits, plan: Batches, batch_size: int, seed: int, device: torch.device
    ) -> None:
        self.data = data
        self.plan = plan
        self.batch_size = batch_size
        self.seed = seed
        self.device = device
        self._epoch = -1
        self._order = torch.empty(0)
        self._order_digest = b""

    def batches(self, step: int) -> tuple[list[tuple[Tensor, Tensor]], int]:
        """The batches of update `step`, and how many rows they have together."""
        epoch, begin, samples = self.plan.at(step)
        self._begin_epoch(epoch)
        rows = self._order[begin : begin + samples]
        batches = [self.data.train.batch(chunk) for chunk in torch.split(rows, self.batch_size)]
        if self.data.augment is not None:
            chance = augmentation_generator(self.seed, step, self.device)
            batches = [(self.data.augment(x, chance), y) for x, y in batches]
        return batches, samples

    def trail(self, before: str, step: int) -> str:
        """A hash over which rows all updates up to `step` took, from the hash before that update.

        Two runs have the same one when, step by step, they took the same rows in the same order.
        """
        epoch, begin, samples = self.plan.at(step)
        self._begin_epoch(epoch)
        digest = hashlib.blake2b(before.encode(), digest_size=16, key=self._order_digest)
        digest.update(f"/{begin}/{samples}".encode())
        return digest.hexdigest()

    def _begin_epoch(self, epoch: int) -> None:
        if self._epoch == epoch:
            return
        order = epoch_order(len(self.data.train), self.seed, epoch)
        self._order_digest = hashlib.blake2b(order.numpy().tobytes(), digest_size=16).digest()
        self._order = order.to(self.device)
        self._epoch = epoch

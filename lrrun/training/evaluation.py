"""Metrics over a validation set."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lrrun.training.datasets import Source, in_order
from lrrun.training.trainee import Trainee

ROWS = 512
"""Rows of a validation batch, where the training batches are smaller."""


def evaluate(
    trainee: Trainee,
    source: Source,
    batch_size: int,
    limit: int | None = None,
    stop_requested: Callable[[], bool] = lambda: False,
) -> dict[str, float] | None:
    """Metrics over all rows of `source` (or the first `limit`), exact to the last partial batch.

    `stop_requested` is asked before every batch; None where it says yes. The device is waited for
    once, at the end.
    """
    model = trainee.evaluated
    was_training = model.training
    model.eval()
    count = len(source) if limit is None else min(limit, len(source))
    total: Tensor | None = None
    try:
        with torch.no_grad(), trainee.autocast():
            for x, y in in_order(source, count, max(batch_size, ROWS), trainee.device):
                if stop_requested():
                    return None
                sums = trainee.task.evaluate_batch(model(x), y)
                total = sums if total is None else total + sums
    finally:
        model.train(was_training)
    return {} if total is None else trainee.task.metrics(total)

"""All of an update as one CUDA graph, from its batches to the moving average of the weights.

Shape suffix: G param groups.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lrrun.training.bare_optimizer import is_of_torch
from lrrun.training.captured import Captured

if TYPE_CHECKING:
    from lrrun.training.trainee import Trainee
    from lrrun.training.update import Update


class WholeStep:
    """Makes updates of an Update that a device computes without being waited for.

    There is one graph for each shape of batches. Its LR is a number in the device's memory, so
    that a changing one captures nothing anew. Parameters, buffers, averages and the optimizer's
    state have to stay where they are from the first update on.
    """

    def __init__(self, update: Update) -> None:
        self.update = update
        self._graphs: dict[tuple[torch.Size, ...], Captured] = {}

    @property
    def failed(self) -> str | None:
        """Why a shape of batches could not be captured; its updates are made kernel by kernel."""
        return next((each.failed for each in self._graphs.values() if each.failed), None)

    def __call__(self, batches: Sequence[tuple[Tensor, Tensor]], numbers: Tensor) -> Tensor:
        """Make an update; (loss, norm of its gradients, 1 where it was a good one), on the device.

        `numbers`, float64 (G + 1), are the LR of each param group and the highest loss of a good
        update. The norm is the loss again where nobody asks for it. The next call overwrites what
        this one returns.
        """
        inputs = [each for batch in batches for each in batch] + [numbers]
        shapes = tuple(each.shape for each in inputs)
        if shapes not in self._graphs:
            self._graphs[shapes] = Captured(self._make, inputs)
        ema = self.update.trainee.ema
        averaged = 0 if ema is None else int(ema.n_averaged)  # it is on the CPU
        (told,) = self._graphs[shapes](*inputs)
        if ema is not None:
            ema.n_averaged.fill_(averaged + 1)  # a replay does not count
        return told

    def _make(self, *inputs: Tensor) -> tuple[Tensor]:
        numbers = inputs[-1]
        batches = list(zip(inputs[:-1:2], inputs[1:-1:2], strict=True))
        with self._rates_on_device(numbers[:-1]):
            loss = self.update.gradients(batches, sum(len(x) for x, _ in batches))
            norm, good = self.update.apply_unseen(loss, numbers[-1])
        told = [loss, loss if norm is None else norm, good.to(loss.dtype)]
        return (torch.stack(told),)

    @contextlib.contextmanager
    def _rates_on_device(self, lrs_G: Tensor) -> Iterator[None]:
        """A block in which every param group has its LR on the device, in the float32 that torch's
        kernels read there, and may be captured.
        """
        groups = self.update.trainee.optimizer.param_groups
        before = [dict(group) for group in groups]
        try:
            for group, lr in zip(groups, lrs_G.float().unbind(), strict=True):
                group["lr"] = lr
                if "capturable" in group:
                    group["capturable"] = True
            yield
        finally:
            for group, old in zip(groups, before, strict=True):
                group.update(old)


def can_be_whole(trainee: Trainee) -> bool:
    """Can the update be captured with the passes?

    Not where the host has a part in it: momentum or weight decay are scheduled (they are arguments
    of kernels), fp16 looks at the gradients, the optimizer is somebody's own or counts its steps on
    the CPU, as torch's do unless they are fused or capturable.
    """
    groups = trainee.optimizer.param_groups
    on_device = all(group.get("fused") or group.get("capturable") for group in groups)
    plain = trainee.scaler is None and not trainee.driven
    return plain and on_device and is_of_torch(type(trainee.optimizer))

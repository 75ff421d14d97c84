"""An update of K replicas that nobody waits for; on CUDA it is one graph.

Shape suffixes: N numbers, K replicas.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from lrrun.training.captured import Captured
from lrrun.training.fused.ema import FusedEma
from lrrun.training.fused.numbers import Names
from lrrun.training.fused.optimizers import FusedOptimizer
from lrrun.training.fused.stack import FusedModel


class StackedStep:
    """Makes updates from the batches to the averages, without a look at them.

    Where it `captures`, there is one CUDA graph for each shape of batches. Their numbers lie in the
    device's memory, so that a changing LR captures nothing anew; so do the counters of the rule.
    """

    def __init__(
        self,
        model: FusedModel,
        optimizer: FusedOptimizer,
        ema: FusedEma | None,
        *,
        norms: Callable[[], Tensor] | None,
        puts_back: bool,
        captures: bool,
    ) -> None:
        """`norms`, where somebody asks for them, clips and gives norms_K; where `puts_back`, a bad
        update leaves no trace in buffers. States have been loaded before.
        """
        self.model = model
        self.optimizer = optimizer
        self.ema = ema
        self._norms = norms
        self._puts_back = puts_back
        self._captures = captures
        self._graphs: dict[Any, Captured] = {}
        if captures:
            optimizer.count_in_place()

    @property
    def failed(self) -> str | None:
        """Why a shape of batches could not be captured; its updates are made kernel by kernel."""
        return next((each.failed for each in self._graphs.values() if each.failed), None)

    def __call__(
        self, batches: Sequence[tuple[Tensor, Tensor]], names: Names, numbers_NK: Tensor
    ) -> Tensor:
        """Make an update: losses_K, norms_K (the losses where nobody asks for them) and 1 where it
        was a good one, (3, K) on the device. The next call overwrites it.

        `numbers_NK`, float64, are the highest losses of a good update, 1 for the replicas that are
        active, then what `names` says.
        """
        inputs = [each for batch in batches for each in batch] + [numbers_NK]
        if not self._captures:
            return self._make(names, *inputs)[0]
        key = names, *(each.shape for each in inputs)
        if key not in self._graphs:
            self._graphs[key] = Captured(functools.partial(self._make, names), inputs)
        return self._graphs[key](*inputs)[0]

    def _make(self, names: Names, *inputs: Tensor) -> tuple[Tensor]:
        batches = list(zip(inputs[:-1:2], inputs[1:-1:2], strict=True))
        limits_K, active_K, *values = inputs[-1].unbind()
        losses_K = self.model.gradients(batches, sum(self.model.rows_of(x) for x, _ in batches))
        norms_K = None if self._norms is None else self._norms()
        good_K = torch.isfinite(self.optimizer.sums() if norms_K is None else norms_K)
        good_K = good_K & torch.isfinite(losses_K) & (losses_K <= limits_K)
        for (group, name), values_K in zip(names, values, strict=True):
            self.optimizer.set(group, name, values_K)
        made_K = good_K & (active_K > 0)
        self.optimizer.step(made_K)
        if self.ema is not None:
            self.ema.update(made_K)
        if self._puts_back:
            self.model.undo_forward(made_K)
        told = [losses_K, losses_K if norms_K is None else norms_K, good_K.to(losses_K.dtype)]
        return (torch.stack(told),)

"""A traced step as a CUDA graph: all its kernels in one launch.

Source: V. Nguyen et al., "Accelerating PyTorch with CUDA Graphs", 2021,
https://pytorch.org/blog/accelerating-pytorch-with-cuda-graphs/.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

WARM_UPS = 3
"""Runs before the capture, as torch asks for: libraries choose algorithms and take memory then."""


class Captured:
    """Replays `step` for batches of one shape.

    Weights and buffers are those that were there at the capture, and are read where they lie; the
    batch and the weight of the loss are copied in. What a call returns is overwritten by the next.
    """

    def __init__(
        self,
        step: Callable[..., tuple[Tensor, ...]],
        weights: Sequence[Tensor],
        buffers: Sequence[Tensor],
        *batch: Tensor,
    ) -> None:
        self._batch = [each.clone() for each in batch]
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UPS):
                step(weights, buffers, *self._batch)
        torch.cuda.current_stream().wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._outputs = step(weights, buffers, *self._batch)

    def __call__(
        self, weights: Sequence[Tensor], buffers: Sequence[Tensor], *batch: Tensor
    ) -> tuple[Tensor, ...]:
        """The loss and its gradients, on the device and not waited for."""
        for own, new in zip(self._batch, batch, strict=True):
            own.copy_(new)
        self._graph.replay()
        return self._outputs

"""Loss and gradients of a batch as one traced graph: no autograd, no guards, one call.

The graph is traced once for every shape of a batch, then compiled, or captured as a CUDA graph, or
both. Learning rates are no part of it, so that a changing one makes nothing anew.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value
from torch.fx.experimental.proxy_tensor import make_fx

from lrrun.errors import EnvironmentFault
from lrrun.training.captured import Captured
from lrrun.training.chance import chance, restore_chance

Loss = Callable[[Tensor, Tensor], Tensor]
Graph = Callable[..., tuple[Tensor, ...]]
"""(x, y, weight of the loss) → the weighted loss, then its gradients."""


class TracedGradients:
    """Called with a batch: its loss, times a weight, and that loss's gradients in `.grad`.

    For models whose forward pass is the same for every batch of one shape and depends on nothing
    but parameters, buffers, the batch and torch's generators: what Python decides is decided once.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        autocast: Callable[[], AbstractContextManager[Any]],
        *,
        compiles: bool,
        captures: bool,
    ) -> None:
        self.model = model
        self.loss = loss
        self.autocast = autocast
        self.compiles = compiles
        self.captures = captures
        self.parameters = dict(model.named_parameters())
        self.buffers = dict(model.named_buffers())
        self._graphs: dict[tuple[torch.Size, torch.Size], Graph] = {}
        self._weights = [each.detach() for each in self.parameters.values()]
        self._buffers = [*self.buffers.values()]

    def __call__(self, x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
        """`weight` is a scalar on the batch's device; gradients are added to those that are there.

        Where graphs are captured, `.grad` is lent until the next call, and has to be None before
        it. Raises EnvironmentFault where torch's compiler fails.
        """
        graph = self.graph(x, y, weight)
        with torch.no_grad():
            loss, *gradients = graph(x, y, weight)
            for parameter, gradient in zip(self.parameters.values(), gradients, strict=True):
                if parameter.grad is not None:
                    parameter.grad += gradient
                elif gradient.stride() == parameter.stride():
                    parameter.grad = gradient
                else:  # fused optimizers read both in the order of memory
                    parameter.grad = torch.empty_like(parameter).copy_(gradient)
        return loss

    def graph(self, x: Tensor, y: Tensor, weight: Tensor) -> Graph:
        """The graph for batches of this shape, made where there is none yet.

        Making it runs the model: buffers and generators are put back.
        """
        shapes = x.shape, y.shape
        if shapes not in self._graphs:
            before = chance(x.device)
            kept = [each.clone() for each in self._buffers]
            with torch.no_grad():
                try:
                    self._graphs[shapes] = self._made(x, y, weight)
                finally:
                    for buffer, old in zip(self._buffers, kept, strict=True):
                        buffer.copy_(old)
                    restore_chance(before, x.device)
        return self._graphs[shapes]

    @property
    def failed(self) -> str | None:
        """Why batches of some shape could not be captured."""
        graphs = [each for each in self._graphs.values() if isinstance(each, Captured)]
        return next((each.failed for each in graphs if each.failed), None)

    def _made(self, *batch: Tensor) -> Graph:
        inputs = (self._weights, self._buffers, *batch)
        graph: Graph = make_fx(self._step())(*inputs)
        if self.compiles:
            graph = _compiled(graph, inputs)
        graph = functools.partial(graph, self._weights, self._buffers)
        return Captured(graph, batch) if self.captures else graph

    def _step(self) -> Callable[..., tuple[Tensor, ...]]:
        def loss_of(
            weights: list[Tensor], buffers: list[Tensor], x: Tensor, y: Tensor, weight: Tensor
        ) -> Tensor:
            named = dict(zip(self.parameters, weights, strict=True))
            named |= dict(zip(self.buffers, buffers, strict=True))
            with self.autocast():
                return self.loss(functional_call(self.model, named, (x,)), y) * weight

        def step(
            weights: list[Tensor], buffers: list[Tensor], x: Tensor, y: Tensor, weight: Tensor
        ) -> tuple[Tensor, ...]:
            gradients, loss = grad_and_value(loss_of)(weights, buffers, x, y, weight)
            return (loss, *gradients)

        return step


def _compiled(graph: Graph, inputs: tuple[Any, ...]) -> Graph:
    import torch._inductor

    traced: Any = graph
    try:
        compiled: Graph = torch._inductor.compile(traced, [*inputs])
    except Exception as error:  # whatever torch's compiler raises
        first = (str(error).strip().splitlines() or [""])[0]
        raise EnvironmentFault(
            f"torch could not compile this model: {type(error).__name__}: {first}; leave "
            "train.compile out"
        ) from error
    return compiled

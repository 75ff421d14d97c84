"""K replicas of one module as one stacked model.

Shapes: K replicas, B samples; what follows depends on the model.
"""

from __future__ import annotations

import functools
from collections.abc import Hashable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn import functional as F

from lrrun.training.fused.arithmetic import along
from lrrun.training.fused.ema import FusedEma
from lrrun.training.fused.graph import clean
from lrrun.training.fused.images import StackedImages
from lrrun.training.fused.refusal import NotFusable
from lrrun.training.fused.tracing import trace
from lrrun.training.tasks import Classification, Task
from lrrun.training.trainee import AUTOCAST

NARROW = 64
"""Fewer classes than this, and the softmax of a row is not vectorized by torch on the CPU."""


@functools.lru_cache(maxsize=8)
def traced_before(stack: Hashable) -> dict[Any, Any]:
    """The passes of stacks that are alike in all but their numbers, by the shape of the batch."""
    return {}


class FusedModel:
    """K modules of one architecture, on one device, each with weights of its own.

    `names` are the parameters' names in the model's order (a tied weight once), `parameters_K`
    their stacked tensors (K, ...), `trained` those that require a gradient, and `grads` what
    `gradients` found for these; `replicas` is K, `device` where they are. The forward and backward
    passes of all replicas are traced once for each shape of batch, and carried out as that list of
    operations, without autograd.
    """

    def __init__(
        self,
        models: Sequence[nn.Module],
        task: Task,
        *,
        shared_data: bool,
        precision: str = "fp32",
        compile: bool = False,
        architecture: Hashable = None,
    ) -> None:
        """Copies the weights; stacks of one `architecture`, if it is given, share what is traced.

        Raises NotFusable: precision fp16, modules that differ.
        """
        if precision == "fp16":
            raise NotFusable("fp16, whose loss scale is a replica's own; bf16 can be fused")
        self.replicas = len(models)
        self.task = task
        self.shared_data = shared_data
        self.precision = precision
        self.compile = compile
        self.module = models[0]
        with torch.no_grad():
            self.stacked_parameters = _stacked([dict(each.named_parameters()) for each in models])
            self.stacked_buffers = _stacked([dict(each.named_buffers()) for each in models])
        self.names = tuple(self.stacked_parameters)
        self.trained = tuple(
            name for name, each in self.module.named_parameters() if each.requires_grad
        )
        self.parameters_K = list(self.stacked_parameters.values())
        self.grads: list[Tensor] = []
        self.device = self.parameters_K[0].device
        self._buffers_before: list[Tensor] = []
        kind = repr(self.module), self.replicas, shared_data, precision, compile, self.device
        self._passes = {} if architecture is None else traced_before((architecture, kind))
        homes, saved = self._homes(), self.module.state_dict()
        stacked = {*self.stacked_parameters, *self.stacked_buffers}
        self._layout = {key: homes[key] for key in saved if homes.get(key) in stacked}
        self._is_whole = len(self._layout) == len(saved)

    def probe(self, x: Tensor, y: Tensor) -> None:
        """Trace a step and an evaluation; NotFusable names the operation that cannot be stacked.

        Changes no weights, buffers or random numbers. The trace for this batch shape is kept.
        """
        self._pass("step", x, y)
        self._pass("evaluation", *((x, y) if self.shared_data else (x[0], y[0])))

    def gradients(self, batches: Sequence[tuple[Tensor, Tensor]], samples: int) -> Tensor:
        """As Update.gradients: losses_K (detached, own memory), `grads` filled, buffers moved on.

        x and y are (B, ...) with shared data, else (K, B, ...).
        """
        self._buffers_before = list(self.stacked_buffers.values())
        if len(batches) == 1:
            losses_K, self.grads = self._forward_backward(*batches[0])
            return losses_K
        rows = 0 if self.shared_data else 1
        losses_K = torch.zeros(())
        for index, (x, y) in enumerate(batches):
            share = x.shape[rows] / samples
            part_K, grads = self._forward_backward(x, y)
            torch._foreach_mul_(grads, share)
            if index == 0:
                losses_K, self.grads = part_K * share, grads
            else:
                losses_K = losses_K + part_K * share
                torch._foreach_add_(self.grads, grads)
        return losses_K

    def _forward_backward(self, x: Tensor, y: Tensor) -> tuple[Tensor, list[Tensor]]:
        with torch.no_grad():
            found: list[Tensor] = self._pass("step", x, y)(
                *self.parameters_K, *self.stacked_buffers.values(), x, y
            )
        after = 1 + len(self.trained)
        for name, value in zip(self.stacked_buffers, found[after:], strict=True):
            self.stacked_buffers[name] = value
        return found[0], found[1:after]

    def undo_forward(self, made_K: Tensor) -> None:
        """Put buffers back to before the last `gradients` where `made_K` (bool) is False."""
        for (name, new), old in zip(
            list(self.stacked_buffers.items()), self._buffers_before, strict=True
        ):
            self.stacked_buffers[name] = torch.where(along(made_K, new), new, old)

    def evaluate(self, x: Tensor, y: Tensor, ema: FusedEma | None = None) -> Tensor:
        """Each replica's Task.evaluate_batch of a shared batch (B, ...), in eval mode: (K, ...)."""
        weights = self.parameters_K if ema is None else ema.averages
        with torch.no_grad():
            evaluation = self._pass("evaluation", x, y)
            sums: Tensor = evaluation(*weights, *self.stacked_buffers.values(), x, y)[0]
        return sums

    def state_dict(self, k: int, weights: Sequence[Tensor] | None = None) -> dict[str, Tensor]:
        """Replica k's state, as its own module would give it (keys, order, shapes; own memory).

        `weights` are other stacked parameters than the present ones.
        """
        views = self.views(k, weights)
        state = views if self._is_whole else {**self.module.state_dict(), **views}
        return {key: value.clone() if key in views else value for key, value in state.items()}

    def views(self, k: int, weights: Sequence[Tensor] | None = None) -> dict[str, Tensor]:
        """The tensors of `state_dict` where they lie: for a look, or one copy to another device."""
        stacked = {**self.stacked_parameters, **self.stacked_buffers}
        if weights is not None:
            stacked |= zip(self.names, weights, strict=True)
        return {key: stacked[home][k] for key, home in self._layout.items()}

    def load(self, k: int, state: Mapping[str, Any]) -> None:
        """Put replica k into a state_dict of its own module."""
        stacked = {**self.stacked_parameters, **self.stacked_buffers}
        for key, home in self._homes().items():
            if key in state:
                stacked[home][k].copy_(state[key])

    def parameters(self, k: int) -> dict[str, Tensor]:
        """Replica k's parameters by name: views."""
        return {name: each[k] for name, each in self.stacked_parameters.items()}

    def _homes(self) -> dict[str, str]:
        """Each name that a parameter or buffer goes by, tied ones too → the name it is kept by."""
        tensors = [
            *self.module.named_parameters(remove_duplicate=False),
            *self.module.named_buffers(remove_duplicate=False),
        ]
        first: dict[int, str] = {}
        return {name: first.setdefault(id(each), name) for name, each in tensors}

    def _pass(self, kind: str, x: Tensor, y: Tensor) -> Any:
        """The traced pass for batches of this shape."""
        key = (kind, x.shape, x.dtype, y.shape, y.dtype)
        if key not in self._passes:
            function = self._step if kind == "step" else self._evaluation
            was_training = self.module.training
            self.module.train(kind == "step")
            try:
                traced = trace(function, *self.parameters_K, *self.stacked_buffers.values(), x, y)
            finally:
                self.module.train(was_training)
            cleaned = clean(traced, kept=1)
            self._passes[key] = torch.compile(cleaned) if self.compile else cleaned
        return self._passes[key]

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=AUTOCAST[self.precision], cache_enabled=False)

    def _outputs(
        self, parameters: Sequence[Tensor], buffers: Sequence[Tensor], x: Tensor, shared: bool
    ) -> tuple[Tensor, list[Tensor]]:
        """The outputs of all replicas (K, B, ...), and what their buffers are after the pass."""

        def one(
            weights: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor
        ) -> tuple[Tensor, list[Tensor]]:
            own = {name: each.clone() for name, each in buffers.items()}
            outputs = functional_call(self.module, (weights, own), (x,))
            return outputs, list(own.values())

        stacked = vmap(one, in_dims=(0, 0, None if shared else 0), randomness="different")
        weights = dict(zip(self.names, parameters, strict=True))
        with self._autocast(), StackedImages():
            outputs, after = stacked(
                weights, dict(zip(self.stacked_buffers, buffers, strict=True)), x
            )
        return outputs, after

    def _step(self, *tensors: Tensor) -> list[Tensor]:
        """Losses_K, the gradients, the buffers after it. The replicas' losses are independent, so
        the gradient of their sum is each one's own.
        """
        count = len(self.names)
        weights = dict(zip(self.names, (each.detach() for each in tensors[:count]), strict=True))
        trained = [weights[name].requires_grad_() for name in self.trained]
        x, y = tensors[-2:]
        with torch.enable_grad():
            outputs, buffers = self._outputs(
                list(weights.values()), tensors[count:-2], x, self.shared_data
            )
            losses_K = self._losses(outputs, y)
            ones_K = torch.ones(losses_K.shape, dtype=losses_K.dtype, device=losses_K.device)
            grads = torch.autograd.grad(losses_K, trained, ones_K)
        return [losses_K.detach(), *grads, *(each.detach() for each in buffers)]

    def _losses(self, outputs: Tensor, y: Tensor) -> Tensor:
        """The training loss of each replica.

        Cross-entropy, by far the most frequent, is taken of all replicas at once: batched by vmap
        it is 20 operations. With few classes C it is laid out as (K, C, rows), which the CPU can
        vectorize: 20 times faster for 10 classes.
        """
        k = self.replicas
        y_K = y.expand(k, *y.shape) if self.shared_data else y
        if not isinstance(self.task, Classification):
            batched: Tensor = vmap(self.task.loss)(outputs, y_K)
            return batched
        half = outputs.dtype in (torch.float16, torch.bfloat16)
        logits_KRC = (outputs.float() if half else outputs).flatten(1, -2)
        y_KR = y_K.reshape(k, -1)
        smoothing = self.task.label_smoothing
        if logits_KRC.shape[-1] < NARROW:
            logits, classes = logits_KRC.transpose(1, 2).contiguous(), y_KR
        else:
            logits, classes = logits_KRC.flatten(0, 1), y_KR.flatten()
        losses = F.cross_entropy(logits, classes, reduction="none", label_smoothing=smoothing)
        rows_K = (y_KR != -100).sum(1)  # torch leaves these rows out of its mean
        return losses.view(k, -1).sum(1) / rows_K

    def _evaluation(self, *tensors: Tensor) -> list[Tensor]:
        count = len(self.names)
        x, y = tensors[-2:]
        outputs, _ = self._outputs(tensors[:count], tensors[count:-2], x, True)
        return [vmap(self.task.evaluate_batch, in_dims=(0, None))(outputs, y)]


def _stacked(each: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Names → (K, ...); raises NotFusable where the modules differ in names or shapes."""
    first = {name: (value.shape, value.dtype) for name, value in each[0].items()}
    for other in each[1:]:
        if {name: (value.shape, value.dtype) for name, value in other.items()} != first:
            raise NotFusable("models whose parameters or buffers differ in name, shape or dtype")
    return {name: torch.stack([other[name] for other in each]).detach() for name in first}

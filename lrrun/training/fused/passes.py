"""What K replicas of one module do with a batch, as functions of tensors: what is traced.

Shapes: K replicas, B samples; what follows depends on the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn import functional as F

from lrrun.training.fused.graph import clean
from lrrun.training.fused.images import StackedImages
from lrrun.training.fused.tracing import Traced, trace
from lrrun.training.tasks import Classification, Task
from lrrun.training.trainee import AUTOCAST

NARROW = 64
"""Fewer classes than this, and the softmax of a row is not vectorized by torch on the CPU."""


@dataclass(frozen=True)
class Passes:
    """The forward and backward passes, and the evaluation, of all replicas of `module`.

    Both take the stacked tensors of `names` and `buffers`, in this order, then x and y: (B, ...)
    where the data are shared, else (K, B, ...).
    """

    module: nn.Module
    task: Task
    names: Sequence[str]
    trained: Sequence[str]
    buffers: Sequence[str]
    shared_data: bool
    precision: str

    def traced(self, kind: str, *tensors: Tensor) -> Traced:
        """The operations of a "step" or an "evaluation" of tensors like these; raises NotFusable
        where one of them has no form for all replicas.
        """
        training, was_training = kind == "step", self.module.training
        self.module.train(training)
        try:
            return clean(trace(self.step if training else self.evaluation, *tensors), kept=1)
        finally:
            self.module.train(was_training)

    def _autocast(self, device: torch.device) -> AbstractContextManager[Any]:
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(device.type, dtype=AUTOCAST[self.precision], cache_enabled=False)

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
        with self._autocast(x.device), StackedImages():
            outputs, after = stacked(weights, dict(zip(self.buffers, buffers, strict=True)), x)
        return outputs, after

    def step(self, *tensors: Tensor) -> list[Tensor]:
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
            grads = torch.autograd.grad(losses_K.sum(), trained)
        return [losses_K.detach(), *grads, *(each.detach() for each in buffers)]

    def _losses(self, outputs: Tensor, y: Tensor) -> Tensor:
        """The training loss of each replica.

        Cross-entropy, by far the most frequent, is taken of all replicas at once: batched by vmap
        it is 20 operations.
        """
        k = len(outputs)
        y_K = y.expand(k, *y.shape) if self.shared_data else y
        if not isinstance(self.task, Classification):
            batched: Tensor = vmap(self.task.loss)(outputs, y_K)
            return batched
        logits, classes = _by_class(outputs, y_K)
        smoothing = self.task.label_smoothing
        losses = F.cross_entropy(logits, classes, reduction="none", label_smoothing=smoothing)
        rows_K = (y_K.reshape(k, -1) != -100).sum(1)  # torch leaves these rows out of its mean
        return losses.view(k, -1).sum(1) / rows_K

    def evaluation(self, *tensors: Tensor) -> list[Tensor]:
        """Each replica's Task.evaluate_batch of a shared batch, (K, ...)."""
        count = len(self.names)
        x, y = tensors[-2:]
        outputs, _ = self._outputs(tensors[:count], tensors[count:-2], x, True)
        if not isinstance(self.task, Classification):
            return [vmap(self.task.evaluate_batch, in_dims=(0, None))(outputs, y)]
        k = len(outputs)
        logits, classes = _by_class(outputs, y.expand(k, *y.shape))
        losses = F.cross_entropy(logits, classes, reduction="none")
        rows = logits if logits.ndim == 2 else logits.transpose(1, 2).contiguous()
        counted = (losses, rows.argmax(-1) == classes, torch.ones_like(losses))
        return [torch.stack([each.view(k, -1).double().sum(1) for each in counted], 1)]


def _by_class(outputs: Tensor, y_K: Tensor) -> tuple[Tensor, Tensor]:
    """Logits, their classes C in dimension 1, and the right ones: of rows (K·R, C), or, where the
    CPU vectorizes that and not rows, (K, C, R): 20 times faster for 10 classes.
    """
    half = outputs.dtype in (torch.float16, torch.bfloat16)
    logits_KRC = (outputs.float() if half else outputs).flatten(1, -2)
    y_KR = y_K.reshape(len(y_K), -1)
    if logits_KRC.shape[-1] < NARROW:
        return logits_KRC.transpose(1, 2).contiguous(), y_KR
    return logits_KRC.flatten(0, 1), y_KR.flatten()

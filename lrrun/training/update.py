"""One optimizer update: gradients over its batches, then the step, at the LR of the schedule."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lrrun.config.train import Train
from lrrun.training.trainee import Trainee

MAX_RETRIES = 40
"""Halvings of the fp16 loss scale that one update may take: more than its whole range."""


class Update:
    """Makes updates of a trainee; it alone writes LRs into the param groups.

    Under fp16 an update whose scaled gradients overflow is made again on the same batches with half
    the scale, so that every step of the schedule is one update that really happened.
    """

    def __init__(self, trainee: Trainee, settings: Train) -> None:
        self.trainee = trainee
        self.clip_norm = settings.clip_norm
        self.grad_norm = settings.grad_norm
        self.parameters = [
            parameter for group in trainee.optimizer.param_groups for parameter in group["params"]
        ]
        self._batches: Sequence[tuple[Tensor, Tensor]] = ()
        self._samples = 0

    def set_rates(self, lrs: Sequence[float], momentum: float | None) -> None:
        """Write the LR of each param group (and the momentum where the schedule drives it)."""
        for group, lr in zip(self.trainee.optimizer.param_groups, lrs, strict=True):
            group["lr"] = lr
            if momentum is not None and momentum == momentum:  # nan: the schedule leaves it alone
                if "betas" in group:
                    group["betas"] = (momentum, *group["betas"][1:])
                else:
                    group["momentum"] = momentum

    def gradients(self, batches: Sequence[tuple[Tensor, Tensor]], samples: int) -> Tensor:
        """Forward and backward over the update's batches; the mean loss over its rows, detached."""
        self._batches, self._samples = batches, samples
        self.trainee.optimizer.zero_grad(set_to_none=True)
        if len(batches) == 1:
            return self._backward(*batches[0], 1.0)
        losses = [self._backward(x, y, len(x) / samples) for x, y in batches]
        return torch.stack(losses).sum()

    def _backward(self, x: Tensor, y: Tensor, share: float) -> Tensor:
        """The batch's part of the update's loss, its gradient added."""
        trainee = self.trainee
        with trainee.autocast():
            loss = trainee.task.loss(trainee.forward(x), y)
        if share != 1.0:
            loss = loss * share
        scaled = loss if trainee.scaler is None else trainee.scaler.scale(loss)
        torch.autograd.backward(scaled)
        return loss.detach()

    def apply(self) -> tuple[Tensor | None, bool]:
        """Make the update; the gradients' norm where it is asked for, and whether it was made."""
        trainee = self.trainee
        if trainee.scaler is None:
            norm = self._clip()
            trainee.optimizer.step()
            made = True
        else:
            norm, made = self._apply_scaled(trainee.scaler)
        if made and trainee.ema is not None:
            trainee.ema.update_parameters(trainee.model)
        return norm if self.grad_norm else None, made

    def _apply_scaled(self, scaler: torch.amp.GradScaler) -> tuple[Tensor | None, bool]:
        for _ in range(MAX_RETRIES):
            scaler.unscale_(self.trainee.optimizer)
            norm = self._clip()
            before = scaler.get_scale()
            scaler.step(self.trainee.optimizer)
            scaler.update()
            if scaler.get_scale() >= before:
                return norm, True
            self.gradients(self._batches, self._samples)
        return None, False

    def _clip(self) -> Tensor | None:
        """The norm of the gradients before any clipping, or None when nobody asks for it."""
        if self.clip_norm is not None:
            return torch.nn.utils.clip_grad_norm_(self.parameters, self.clip_norm)
        return self.norm() if self.grad_norm else None

    def norm(self) -> Tensor:
        """The 2-norm of all gradients together, a scalar."""
        gradients = [each.grad for each in self.parameters if each.grad is not None]
        return torch.nn.utils.get_total_norm(gradients)

"""One optimizer update: gradients over its batches, then the step, at the LR of the schedule."""

from __future__ import annotations

import cmath
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lrrun.config.train import Train
from lrrun.training.bare_optimizer import bare_step
from lrrun.training.trainee import Trainee

MAX_RETRIES = 40
"""Halvings of the fp16 loss scale that one update may take: more than its whole range."""


class Update:
    """Makes updates of a trainee; it alone writes LRs into the param groups.

    Under fp16 an update whose scaled gradients overflow is made again on the same batches with half
    the scale, so that every step of the schedule is one update that really happened.
    """

    def __init__(self, trainee: Trainee, settings: Train) -> None:
        """The trainee's optimizer has, as yet, the weight decays that its config gives it."""
        self.trainee = trainee
        self.clip_norm = settings.clip_norm
        self.grad_norm = settings.grad_norm
        self.parameters = [
            parameter for group in trainee.optimizer.param_groups for parameter in group["params"]
        ]
        self.decay_ratios = decay_ratios(trainee.optimizer)
        self._step = bare_step(trainee.optimizer)
        if trainee.scaler is not None:  # which calls the optimizer's own
            vars(trainee.optimizer)["step"] = self._step
        self._undoes = settings.on_divergence == "skip"
        self._buffers: list[tuple[Tensor, Tensor]] = []
        self._one = torch.ones((), device=trainee.device)
        self._batches: Sequence[tuple[Tensor, Tensor]] = ()
        self._samples = 0

    def set_rates(self, lrs: Sequence[float], driven: Mapping[str, float]) -> None:
        """Write the LR of each param group, and the momentum and weight decay where scheduled.

        A group whose own weight decay is not the optimizer's keeps its ratio to it.
        """
        groups = self.trainee.optimizer.param_groups
        for group, lr in zip(groups, lrs, strict=True):
            group["lr"] = lr
        momentum, decay = driven.get("momentum"), driven.get("weight_decay")
        if momentum is not None and momentum == momentum:  # nan: the schedule leaves it alone
            for group in groups:
                if "betas" in group:
                    group["betas"] = (momentum, *group["betas"][1:])
                else:
                    group["momentum"] = momentum
        if decay is not None:
            for group, ratio in zip(groups, self.decay_ratios, strict=True):
                group["weight_decay"] = decay * ratio

    def gradients(self, batches: Sequence[tuple[Tensor, Tensor]], samples: int) -> Tensor:
        """Forward and backward over the update's batches; the mean loss over its rows, detached."""
        self._batches, self._samples = batches, samples
        if self._undoes:  # a forward pass changes the statistics that norms keep
            self._buffers = [(each, each.clone()) for each in self.trainee.model.buffers()]
        for parameter in self.parameters:
            parameter.grad = None
        if len(batches) == 1:
            return self._backward(*batches[0], 1.0)
        losses = [self._backward(x, y, len(x) / samples) for x, y in batches]
        return torch.stack(losses).sum()

    def _backward(self, x: Tensor, y: Tensor, share: float) -> Tensor:
        """The batch's part of the update's loss, its gradient added."""
        trainee = self.trainee
        if trainee.traced is not None:
            scale = None if trainee.scaler is None else trainee.scaler.scale(self._one)
            weight = self._one if scale is None else scale
            loss = trainee.traced(x, y, weight if share == 1.0 else weight * share)
            return loss if scale is None else loss / scale
        with trainee.autocast():
            loss = trainee.task.loss(trainee.forward(x), y)
        if share != 1.0:
            loss = loss * share
        scaled = loss if trainee.scaler is None else trainee.scaler.scale(loss)
        torch.autograd.backward(scaled)
        return loss.detach()

    def apply(self) -> tuple[Tensor | None, bool]:
        """Make the update unless a gradient is not finite.

        The gradients' norm, where it is asked for, and whether the update was made. Looking waits
        for the device, so this is for the CPU, and for fp16, whose scaler waits as well.
        """
        trainee = self.trainee
        if trainee.scaler is None:
            norm = self._clip()
            made = self._finite() if norm is None else math.isfinite(norm.item())
            if made:
                self._step()
        else:
            norm, made = self._apply_scaled(trainee.scaler)
        if made:
            trainee.average()
        return norm if self.grad_norm else None, made

    def apply_unseen(self, loss: Tensor, limit: float | Tensor) -> tuple[Tensor | None, Tensor]:
        """Make the update without waiting for the device; was it a good one?

        It is where loss and gradients are finite and the loss is at most `limit`. Both results stay
        on the device. Where bad updates are to be skipped the decision stays there, too: the step
        is computed in any case, and what it changed is put back. (What is counted on the CPU goes
        on: a moving average's updates, and Adam's unless it is fused or capturable.) Elsewhere a
        bad update ends the run's state, which nobody saves.
        """
        norm = self._clip()
        if norm is None:
            norm = self.norm()
        good = torch.isfinite(norm) & torch.isfinite(loss) & (loss <= limit)
        before = {each: each.clone() for each in self._changed()} if self._undoes else {}
        self._step()
        self.trainee.average()
        if self._undoes:
            with torch.no_grad():
                for tensor in self._changed():
                    old = before.get(tensor)
                    tensor.copy_(torch.where(good, tensor, 0 if old is None else old))
                for tensor, old in self._buffers:
                    tensor.copy_(torch.where(good, tensor, old))
        return norm if self.grad_norm else None, good

    def undo_forward(self) -> None:
        """Put the model's buffers back to what they were before the last forward pass."""
        with torch.no_grad():
            for tensor, old in self._buffers:
                tensor.copy_(old)

    def _changed(self) -> Iterator[Tensor]:
        """The tensors on the device that a step and the moving average write into."""
        yield from self.parameters
        states: Sequence[dict[str, Any]] = list(self.trainee.optimizer.state.values())
        for value in (value for state in states for value in state.values()):
            if isinstance(value, Tensor) and value.device.type == self.trainee.device.type:
                yield value
        if self.trainee.ema is not None:
            yield from self.trainee.ema.module.parameters()
            yield from self.trainee.ema.module.buffers()

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
        return torch.nn.utils.get_total_norm(self._gradients())

    def _finite(self) -> bool:
        """Are all gradients finite? Sums tell, at a fraction of what a norm costs on the CPU."""
        return cmath.isfinite(sum(each.sum().item() for each in self._gradients()))

    def _gradients(self) -> list[Tensor]:
        return [each.grad for each in self.parameters if each.grad is not None]


def decay_ratios(optimizer: torch.optim.Optimizer) -> list[float]:
    """Each param group's weight decay as a multiple of the optimizer's own."""
    base = optimizer.defaults.get("weight_decay") or 1.0
    return [group.get("weight_decay", 0.0) / base for group in optimizer.param_groups]

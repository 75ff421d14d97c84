"""What is being trained: the model with all that changes along with it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from lrrun.config.train import Train
from lrrun.schedules.base import Schedule
from lrrun.training.tasks import Task

if TYPE_CHECKING:
    from lrrun.training.traced import TracedGradients

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass
class Trainee:
    """A model, its optimizer and the schedules of its param groups, at `step` updates done.

    `schedules` has one entry a param group, by name and in the optimizer's order; `co_schedules`
    are of the momentum and the weight decay, and `driven` names all that is scheduled beside the
    LR, in the order of the log's columns. `forward` is the model as it is called, `traced` what
    takes the place of a forward and a backward pass where these are one graph; `captured_whole`
    says that the whole update is to be one.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    schedules: Mapping[str, Schedule]
    co_schedules: Mapping[str, Schedule]
    task: Task
    device: torch.device
    precision: str = "fp32"
    ema: AveragedModel | None = None
    scaler: torch.amp.GradScaler | None = None
    forward: Any = None
    traced: TracedGradients | None = None
    captured_whole: bool = False
    driven: tuple[str, ...] = ()
    step: int = 0
    samples: int = 0

    @classmethod
    def of(
        cls,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        schedules: Mapping[str, Schedule],
        co_schedules: Mapping[str, Schedule],
        task: Task,
        device: torch.device,
        settings: Train,
    ) -> Trainee:
        """A trainee before its first step, with the aids that the settings ask for."""
        ema = None
        if settings.ema is not None:
            average = get_ema_multi_avg_fn(settings.ema)  # type: ignore[no-untyped-call]
            ema = AveragedModel(model, multi_avg_fn=average, use_buffers=False)
        fp16 = settings.precision == "fp16"
        return cls(
            model,
            optimizer,
            schedules,
            co_schedules,
            task,
            device,
            settings.precision,
            ema,
            torch.amp.GradScaler(device.type) if fp16 else None,
            model,
        )

    def trace(self, compiles: bool, captures: bool) -> TracedGradients:
        """From now on, loss and gradients are one graph: compiled, captured for CUDA, or both."""
        from lrrun.training.traced import TracedGradients  # loads torch's compiler

        self.traced = TracedGradients(
            self.model, self.task.loss, self.autocast, compiles=compiles, captures=captures
        )
        return self.traced

    def average(self) -> None:
        """Take the weights into their moving average, where there is one.

        As AveragedModel does, which waits for the device at every update but the first.
        """
        ema = self.ema
        if ema is None:
            return
        if ema.n_averaged == 0:
            ema.update_parameters(self.model)  # begins as a copy
            return
        with torch.no_grad():
            averages: list[Tensor] = [*ema.module.parameters()]
            weights: list[Tensor] = [*self.model.parameters()]
            ema.multi_avg_fn(averages, weights, ema.n_averaged)  # type: ignore[misc]
            for average, buffer in zip(ema.module.buffers(), self.model.buffers(), strict=True):
                average.copy_(buffer)
        ema.n_averaged += 1

    def autocast(self) -> AbstractContextManager[Any]:
        """The context of a forward pass: mixed precision where the config asks for it."""
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=AUTOCAST[self.precision])

    @property
    def evaluated(self) -> nn.Module:
        """The model that evaluations look at: the moving average where there is one."""
        return self.forward if self.ema is None else self.ema.module

    @property
    def evaluated_weights(self) -> dict[str, Tensor]:
        """Its weights, by the model's own parameter names."""
        return (self.model if self.ema is None else self.ema.module).state_dict()

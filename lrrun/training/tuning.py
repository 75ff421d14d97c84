"""How a run computes: what is chosen for it by rule, and may change its last bits."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from lrrun.config.clock import Clock
from lrrun.config.experiment import Experiment
from lrrun.config.models import CustomModel
from lrrun.errors import EnvironmentFault
from lrrun.training.datasets import Splits
from lrrun.training.devices import available_cores
from lrrun.training.trainee import Trainee

SMALL_STEP_FLOPS = 2e8
"""Below this much work a step, a second thread costs more in waiting than it saves."""

CAPTURE_FLOPS = 1e11
"""Up to this much work a step, launching its kernels one by one takes longer than running them."""

COMPILE_STEPS = 100_000
"""Updates from which on compiling (10 to 20 s) pays even where a step takes half a millisecond."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """Threads, compiled or not, a CUDA graph or not: functions of config and machine, never timed.

    They stand in run.json, and a run that goes on takes them from there; None is not decided yet.
    """

    threads: int | None = None
    compiled: bool | None = None
    captured: bool | None = None

    @classmethod
    def recorded(cls, info: Mapping[str, Any]) -> Tuning:
        """What a run began with; one that was trained fused is tuned anew where it goes on."""
        if "engine" in info:
            return cls()
        return cls(*(info.get(key) for key in ("threads", "compiled", "captured")))


UNDECIDED = Tuning()


def tune(
    trainee: Trainee, experiment: Experiment, data: Splits, clock: Clock, before: Tuning
) -> tuple[Tuning, tuple[str, ...]]:
    """Have the trainee compute as the config, the machine and the run so far ask for.

    The tuning in effect, and sentences about what could not be had. Raises EnvironmentFault where
    compiling is asked for and fails.
    """
    settings, device = experiment.train, trainee.device
    rows = min(experiment.dataset.batch_size, len(data.train))
    samples = rows * (data.facts.tokens_per_row or 1)
    compiled = choose_compiling(settings.compile, clock.units.total_steps, device, before.compiled)
    threads = torch.get_num_threads()
    if isinstance(experiment.model, CustomModel):  # its forward pass may differ from call to call
        trainee.forward = torch.compile(trainee.model) if compiled else trainee.model
        return Tuning(threads, compiled, False), ()
    one_batch = settings.accumulate == 1 and "batch_size" not in trainee.driven
    captured = one_batch and choose_capturing(
        settings.cuda_graph, trainee.model, samples, device, before.captured
    )
    notices: tuple[str, ...] = ()
    if captured:
        first = data.train.batch(torch.arange(rows, device=device))
        try:
            trainee.trace(compiled, captures=True).graph(*first, torch.ones((), device=device))
        except RuntimeError as error:
            captured = False
            reason = (str(error).strip().splitlines() or [""])[0]
            notices = (f"the step is not captured as a CUDA graph: {reason}",)
    if not captured:
        trainee.traced = None
        if compiled:
            trainee.trace(compiled, captures=False)
    return Tuning(threads, compiled, captured), notices


def choose_threads(
    written: int | None, model: nn.Module, samples: int, small_step: float = SMALL_STEP_FLOPS
) -> int:
    """CPU threads for a model whose updates take `samples` rows (or tokens); a fixed rule.

    OMP_NUM_THREADS wins, then the config, then one thread for steps of less than `small_step`
    floating-point operations and all cores above. Six of them a parameter and sample is the usual
    count for a forward and a backward pass (Kaplan et al. 2020, https://arxiv.org/abs/2001.08361);
    convolutions reuse their weights at every position, so a model that has any counts as large.
    """
    if os.environ.get("OMP_NUM_THREADS"):
        return torch.get_num_threads()
    if written is not None:
        return written
    convolves = any(isinstance(module, nn.Conv2d) for module in model.modules())
    parameters = sum(parameter.numel() for parameter in model.parameters())
    small = not convolves and 6 * parameters * samples < small_step
    return 1 if small else available_cores()


def choose_compiling(
    written: bool | Literal["auto"], steps: int, device: torch.device, recorded: bool | None
) -> bool:
    """Is the step of a run of so many updates compiled?

    `auto` compiles runs of COMPILE_STEPS updates and more, where the machine has a compiler.
    Raises EnvironmentFault where compiling is asked for and there is none.
    """
    if written == "auto":
        wanted = steps >= COMPILE_STEPS if recorded is None else recorded
        return wanted and missing_compiler(device) is None
    if written and (missing := missing_compiler(device)):
        raise EnvironmentFault(
            f"train.compile: true needs {missing}, which is not found here; install it, or write "
            "compile: auto, which goes without"
        )
    return written


def choose_capturing(
    written: bool | Literal["auto"],
    model: nn.Module,
    samples: int,
    device: torch.device,
    recorded: bool | None,
) -> bool:
    """Is the step, whose updates take `samples` rows (or tokens), captured as a CUDA graph?

    `auto` captures steps of up to CAPTURE_FLOPS floating-point operations, and runs that were
    captured before.
    """
    if device.type != "cuda" or written is False:
        return False
    if written is True or recorded is not None:
        return written is True or bool(recorded)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return 6 * parameters * samples <= CAPTURE_FLOPS


def missing_compiler(device: torch.device) -> str | None:
    """What torch's compiler would need for this device and does not find, or None."""
    if device.type == "cuda":
        from torch.utils._triton import has_triton

        return None if has_triton() else "Triton"
    from torch._inductor.cpp_builder import get_cpp_compiler

    try:
        get_cpp_compiler()
    except Exception:  # torch has classes of its own for this, and they move
        return "a C++ compiler (g++ or clang++; CXX names another)"
    return None

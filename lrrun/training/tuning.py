"""How a run computes: what is chosen for it by rule, and may change its last bits."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from lrrun.config.clock import Clock
from lrrun.config.experiment import Experiment
from lrrun.config.models import CustomModel
from lrrun.errors import EnvironmentFault, LrrunError
from lrrun.training.captured import not_captured, reason
from lrrun.training.datasets import Splits
from lrrun.training.devices import available_cores
from lrrun.training.trainee import Trainee
from lrrun.training.whole_step import can_be_whole

if TYPE_CHECKING:
    from lrrun.training.traced import TracedGradients

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
    custom = isinstance(experiment.model, CustomModel)  # may do something else at every call
    if custom and compiled:
        trainee.forward = torch.compile(trainee.model)
    captured, why_not = False, None
    if settings.cuda_graph is True or not custom:
        captured = choose_capturing(
            settings.cuda_graph, trainee.model, samples, device, before.captured
        )
    if captured:
        trainee.captured_whole = can_be_whole(trainee)
        why_not = _beyond_capture(trainee, settings.accumulate)
        if why_not is None:
            traced = trainee.trace(compiled, captures=not trainee.captured_whole)
            if not before.captured:  # else it could be traced before
                first = data.train.batch(torch.arange(rows, device=device))
                why_not = _untraceable(traced, *first)
    if why_not is not None or not captured:
        captured = trainee.captured_whole = False
        trainee.traced = None
        if compiled and not custom:
            trainee.trace(compiled, captures=False)
    said = () if why_not is None else (not_captured(why_not),)
    return Tuning(torch.get_num_threads(), compiled, captured), said


def _beyond_capture(trainee: Trainee, accumulate: int) -> str | None:
    """What of a run no graph can hold, or None."""
    if "batch_size" in trainee.driven:
        return "the batch size is scheduled"
    if trainee.forward is not trainee.model:
        return "the model is somebody's own, and compiled"
    if accumulate > 1 and not trainee.captured_whole:
        return "gradients are accumulated, and the update cannot be captured with them"
    return None


def _untraceable(traced: TracedGradients, x: Tensor, y: Tensor) -> str | None:
    """Why a model cannot be traced; None where it can. Raises EnvironmentFault of the compiler."""
    try:
        traced.graph(x, y, torch.ones((), device=x.device))
    except LrrunError:
        raise
    except Exception as error:  # torch has no class of its own for it, and a model may raise any
        return reason(error)
    return None


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

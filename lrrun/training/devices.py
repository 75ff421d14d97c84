"""Which device a run uses, with how many threads, and what the machine is."""

from __future__ import annotations

import os
import platform

import torch
from torch import nn

from lrrun.errors import ConfigError, Problem

SMALL_STEP_FLOPS = 2e8
"""Below this much work a step, a second thread costs more in waiting than it saves."""


def resolve_device(written: str) -> torch.device:
    """The torch device that a config's `auto`, `cpu`, `cuda`, `cuda:1` or `mps` means here.

    Raises ConfigError at `train.device` when the machine does not have it.
    """
    if written == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    device = torch.device(written)
    if device.type == "cuda":
        found = torch.cuda.device_count() if torch.cuda.is_available() else 0
        absent = (device.index or 0) >= found
    else:
        absent = device.type == "mps" and not torch.backends.mps.is_available()
    if absent:
        have = ", ".join(available_devices())
        text = f"{written} is not available here (torch {torch.__version__}); use one of: {have}"
        raise ConfigError([Problem(("train", "device"), text)])
    return device


def available_devices() -> list[str]:
    """The devices of this machine, best first."""
    cuda = [f"cuda:{k}" for k in range(torch.cuda.device_count())]
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return [*cuda, *mps, "cpu"]


def choose_threads(written: int | None, model: nn.Module, samples: int) -> int:
    """CPU threads for a model whose updates take `samples` rows (or tokens); a fixed rule.

    OMP_NUM_THREADS wins, then the config, then one thread for steps under SMALL_STEP_FLOPS and all
    cores above. Six floating-point operations a parameter and sample is the usual count for a
    forward and a backward pass (Kaplan et al. 2020, https://arxiv.org/abs/2001.08361); convolutions
    reuse their weights at every position, so a model that has any counts as large.
    """
    if os.environ.get("OMP_NUM_THREADS"):
        return torch.get_num_threads()
    if written is not None:
        return written
    convolves = any(isinstance(module, nn.Conv2d) for module in model.modules())
    parameters = sum(parameter.numel() for parameter in model.parameters())
    small = not convolves and 6 * parameters * samples < SMALL_STEP_FLOPS
    return 1 if small else available_cores()


def available_cores() -> int:
    """The cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def describe(device: torch.device) -> str:
    """The device in words: `cpu (x86_64, 2 cores)`, `cuda:0 (NVIDIA H200)`."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    if device.type == "cpu":
        return f"cpu ({platform.machine()}, {available_cores()} cores)"
    return str(device)

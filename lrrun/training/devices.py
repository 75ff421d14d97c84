"""Which device a run uses, and what the machine is."""

from __future__ import annotations

import os
import platform

import torch

from lrrun.errors import ConfigError, Problem


def resolve_device(written: str) -> torch.device:
    """The torch device that a config's `auto`, `cpu`, `cuda`, `cuda:1` or `mps` means here.

    Raises ConfigError at `train.device` when the machine does not have it.
    """
    if written == "auto":
        return torch.device(available_devices()[0])
    device = torch.device(written)
    if device.type == "cuda":
        absent = (device.index or 0) >= _cuda_devices()
    else:
        absent = device.type == "mps" and not torch.backends.mps.is_available()
    if absent:
        have = ", ".join(available_devices())
        text = f"{written} is not available here (torch {torch.__version__}); use one of: {have}"
        raise ConfigError([Problem(("train", "device"), text)])
    if device.type == "cuda":  # with a number, as tensors name the device that they are on
        return torch.device("cuda", device.index or 0)
    return device


def is_waited_for(device: torch.device) -> bool:
    """Is every operation done when the call returns? Then a look at a number costs nothing."""
    return device.type == "cpu"


def available_devices() -> list[str]:
    """The devices of this machine, best first."""
    cuda = [f"cuda:{k}" for k in range(_cuda_devices())]
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return [*cuda, *mps, "cpu"]


def _cuda_devices() -> int:
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


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

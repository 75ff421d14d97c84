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

"""Does the model fit? Asked of its shapes, before any memory is taken."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import torch

from lrrun.config.base import DataFacts
from lrrun.config.models import CustomModel, Model
from lrrun.errors import ConfigError, Problem
from lrrun.training.models import build_shapes

COPIES = 3
"""The weights, their gradients, and at least one moment of the optimizer."""


def refuse_if_too_large(spec: Model, facts: DataFacts, device: torch.device) -> None:
    """Raise ConfigError where a built-in model's weights and gradients exceed the device's memory.

    Activations are not counted, so what passes may still not fit.
    """
    room = device_memory(device)
    if isinstance(spec, CustomModel) or room is None:
        return
    needed = COPIES * _weight_bytes(spec, facts)
    if needed > room:
        text = (
            f"needs about {needed / 1e9:,.0f} GB for weights, gradients and optimizer; "
            f"{device} has {room / 1e9:,.0f} GB"
        )
        raise ConfigError([Problem(("model",), text)])


@functools.lru_cache(maxsize=64)
def _weight_bytes(spec: Model, facts: DataFacts) -> int:
    """What the weights take; asked once for all trials of a sweep that share a model."""
    model = build_shapes(spec, facts, Path())
    return sum(each.numel() * each.element_size() for each in model.parameters())


def device_memory(device: torch.device) -> int | None:
    """The bytes of memory that the device has; None where nobody says."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    if device.type == "cpu" and hasattr(os, "sysconf"):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return None

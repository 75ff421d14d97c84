"""Somebody's own model, by import path."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from lrrun.config.models import CustomModel
from lrrun.errors import ConfigError, Problem
from lrrun.registry import import_callable


def custom(spec: CustomModel, folder: Path) -> nn.Module:
    """What the callable that `spec.name` names returns for the section's other keys.

    The module may lie in `folder`. Raises ConfigError when it cannot be imported, does not take
    these keys, fails, or returns no torch module.
    """
    path = ("model", "name")
    make = import_callable(spec.name, spec.arguments, ("model",), folder)
    try:
        model = make(**spec.arguments)
    except Exception as error:  # somebody's code: whatever it raises is their message
        text = f"{spec.name} failed: {type(error).__name__}: {error}"
        raise ConfigError([Problem(path, text)]) from error
    if not isinstance(model, nn.Module):
        text = f"expected a torch.nn.Module from {spec.name}, got {type(model).__name__}"
        raise ConfigError([Problem(path, text)])
    return model

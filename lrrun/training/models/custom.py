"""Somebody's own model, by import path."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from lrrun.config.models import CustomModel
from lrrun.errors import ConfigError, Problem
from lrrun.registry import import_object, signature_problems


def custom(spec: CustomModel, folder: Path) -> nn.Module:
    """What the callable that `spec.name` names returns for the section's other keys.

    The module may lie in `folder`. Raises ConfigError when it cannot be imported, does not take
    these keys, fails, or returns no torch module.
    """
    path = ("model", "name")
    thing = import_object(spec.name, path, folder)
    if not callable(thing):
        text = f"expected a class or function that makes a model, {spec.name} is {thing!r}"
        raise ConfigError([Problem(path, text)])
    problems = signature_problems(thing, spec.arguments, ("model",))
    if problems:
        raise ConfigError(problems)
    try:
        model = thing(**spec.arguments)
    except Exception as error:  # somebody's code: whatever it raises is their message
        text = f"{spec.name} failed: {type(error).__name__}: {error}"
        raise ConfigError([Problem(path, text)]) from error
    if not isinstance(model, nn.Module):
        text = f"expected a torch.nn.Module from {spec.name}, got {type(model).__name__}"
        raise ConfigError([Problem(path, text)])
    return model

"""Which parameters share an LR and arguments: the param groups of an optimizer, by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from lrrun.config.optimizers import OptimizerSpec
from lrrun.errors import ConfigError, Problem
from lrrun.registry import nearest

NORMS = (nn.LayerNorm, nn.RMSNorm)
"""The norms whose parameters need not be vectors; those of all others are."""


@dataclass
class ParamGroup:
    """A named param group: its LR as a fraction of the base LR, its arguments, its parameters."""

    name: str
    lr_factor: float
    arguments: dict[str, Any]
    parameters: dict[str, nn.Parameter] = field(default_factory=dict)

    def for_torch(self, base_lr: float) -> dict[str, Any]:
        """The group as torch's optimizers take it; `lr` is a plain float, and `name` is kept."""
        parameters = list(self.parameters.values())
        return {
            "params": parameters,
            "name": self.name,
            "lr": base_lr * self.lr_factor,
            **self.arguments,
        }


def param_groups(spec: OptimizerSpec, model: nn.Module) -> list[ParamGroup]:
    """The model's trainable parameters in groups; groups without any are left out.

    A parameter goes to the first group of the config whose pattern matches its name, else to
    `default`, which stands first. Where norms and biases are not decayed, every group is split in
    two, the second with a weight decay of 0. A tied parameter counts once, under its first name.

    Raises ConfigError for a model with nothing to train, and for a group that gets no parameter.
    """
    parameters = {
        name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad
    }
    if not parameters:
        text = "this model has no parameters that can be trained"
        raise ConfigError([Problem(("model",), text)])
    groups = [ParamGroup("default", 1.0, {})] + [
        ParamGroup(group.label(position), group.lr_factor, dict(group.arguments))
        for position, group in enumerate(spec.groups, start=1)
    ]
    for name, parameter in parameters.items():
        groups[_group_of(name, spec)].parameters[name] = parameter
    problems = [
        Problem(("optimizer", "groups", index, "match"), _no_match(each.match, parameters))
        for index, each in enumerate(spec.groups)
        if not groups[index + 1].parameters
    ]
    if problems:
        raise ConfigError(problems)
    if not spec.decay_norms_and_biases:
        undecayed = set(_undecayed(model))
        groups = [part for group in groups for part in _split(group, undecayed)]
    return [group for group in groups if group.parameters]


def _group_of(name: str, spec: OptimizerSpec) -> int:
    """The number of the first group that matches, from 1; 0 for none."""
    for number, group in enumerate(spec.groups, start=1):
        if _matches(name, group.match):
            return number
    return 0


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _no_match(patterns: tuple[str, ...], names: Iterable[str]) -> str:
    """Why a group is empty: nothing matches, or groups before it take everything."""
    names = list(names)
    written = ", ".join(patterns)
    if any(_matches(name, patterns) for name in names):
        return f"everything that {written} matches belongs to the groups before it; put it first"
    modules = {name[:k]: f"{name[:k]}.*" for name in names for k, c in enumerate(name) if c == "."}
    match = nearest(patterns[0].strip("*."), [*modules, *names])
    hint = f"did you mean {modules.get(match, match)}? " if match else ""
    shown = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    return f"{written} matches no parameter of this model; {hint}({len(names)} known: {shown})"


def _undecayed(model: nn.Module) -> Iterator[str]:
    """The names of norms' parameters, biases and all other vectors and scalars."""
    for module_name, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if isinstance(module, NORMS) or name.endswith("bias") or parameter.ndim <= 1:
                yield f"{module_name}.{name}" if module_name else name


def _split(group: ParamGroup, undecayed: set[str]) -> tuple[ParamGroup, ParamGroup]:
    """The group without what is not decayed, and the latter."""
    name = "no_decay" if group.name == "default" else f"{group.name}_no_decay"
    rest = ParamGroup(name, group.lr_factor, {**group.arguments, "weight_decay": 0.0})
    kept = ParamGroup(group.name, group.lr_factor, group.arguments)
    for key, parameter in group.parameters.items():
        (rest if key in undecayed else kept).parameters[key] = parameter
    return kept, rest

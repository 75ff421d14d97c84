"""Which parameters share an LR and arguments: the param groups of an optimizer, by name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from lrrun.config.optimizers import DEFAULT, OptimizerSpec
from lrrun.errors import ConfigError, Problem
from lrrun.registry import nearest
from lrrun.training.layers import layers_of
from lrrun.training.mup import NORMS, lr_multipliers


@dataclass
class ParamGroup:
    """A named param group: its LR as a fraction of the base LR, its arguments, its parameters.

    `label` is that of the config's group whose pattern took them, or `default`: pieces of one group
    have it in common, and a schedule with it.
    """

    name: str
    label: str
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


@dataclass(frozen=True)
class _Piece:
    """What all parameters of a param group have in common."""

    group: int
    """The number of the config's group, from 1; 0 for `default`."""
    layer: int
    width: float
    """The LR's multiplier by width."""
    undecayed: bool

    @property
    def order(self) -> tuple[float, ...]:
        """Groups stand as in the config, layers as in the model, what has the whole LR first."""
        return self.group, self.layer, -self.width, self.undecayed


def param_groups(
    spec: OptimizerSpec, model: nn.Module, base: nn.Module | None = None
) -> list[ParamGroup]:
    """The model's trainable parameters in groups; groups without any are left out.

    A parameter goes to the first group of the config whose pattern matches its name, else to
    `default`, which stands first. Every group is then cut into pieces whose parameters have one
    multiplier of the LR and one weight decay: by layer where layers decay, by width under muP
    (`base` is the model at the base widths), by weight decay where norms and biases have none. The
    multipliers of a piece, its group's lr_factor among them, are multiplied. A tied parameter
    counts once, under its first name.

    Raises ConfigError for a model with nothing to train, for a group that gets no parameter, and
    where `base` is not the same model in other widths.
    """
    if (spec.mup is None) != (base is None):
        raise ValueError("the model at the base widths belongs to mup, and mup needs it")
    parameters = {
        name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad
    }
    if not parameters:
        text = "this model has no parameters that can be trained"
        raise ConfigError([Problem(("model",), text)])
    layers = {} if spec.layer_decay is None else layers_of(model)
    widths = {} if base is None else lr_multipliers(model, base)
    undecayed = set() if spec.decay_norms_and_biases else _undecayed(model)
    pieces: dict[_Piece, dict[str, nn.Parameter]] = {}
    for name, parameter in parameters.items():
        group, layer = _group_of(name, spec), layers.get(name, 0)
        piece = _Piece(group, layer, widths.get(name, 1.0), name in undecayed)
        pieces.setdefault(piece, {})[name] = parameter
    _refuse_empty(spec, {piece.group for piece in pieces}, parameters)
    last = max(layers.values(), default=0)
    order = sorted(pieces, key=lambda piece: piece.order)
    return [_param_group(spec, piece, last, pieces[piece]) for piece in order]


def _param_group(
    spec: OptimizerSpec, piece: _Piece, last: int, parameters: dict[str, nn.Parameter]
) -> ParamGroup:
    """A piece as a param group; `last` is the number of the model's last layer."""
    label, factor, arguments = DEFAULT, 1.0, {}
    if piece.group:
        group = spec.groups[piece.group - 1]
        label, factor, arguments = group.label(piece.group), group.lr_factor, dict(group.arguments)
    words = [label] if piece.group else []
    if spec.layer_decay is not None:
        words.append(f"layer{piece.layer:0{max(2, len(str(last)))}}")
        factor *= spec.layer_decay ** (last - piece.layer)
    if piece.width != 1:
        words.append(f"mup_x{piece.width:.6g}")
        factor *= piece.width
    if piece.undecayed:
        words.append("no_decay")
        arguments = {**arguments, "weight_decay": 0.0}
    return ParamGroup("_".join(words) or DEFAULT, label, factor, arguments, parameters)


def _group_of(name: str, spec: OptimizerSpec) -> int:
    """The number of the first group that matches, from 1; 0 for none."""
    for number, group in enumerate(spec.groups, start=1):
        if _matches(name, group.match):
            return number
    return 0


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _refuse_empty(spec: OptimizerSpec, filled: set[int], names: Iterable[str]) -> None:
    """Raise ConfigError with every group of the config that has no parameter."""
    problems = [
        Problem(("optimizer", "groups", index, "match"), _no_match(each.match, names))
        for index, each in enumerate(spec.groups)
        if index + 1 not in filled
    ]
    if problems:
        raise ConfigError(problems)


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


def _undecayed(model: nn.Module) -> set[str]:
    """The names of norms' parameters, biases and all other vectors and scalars."""
    return {
        f"{module_name}.{name}" if module_name else name
        for module_name, module in model.named_modules()
        for name, parameter in module.named_parameters(recurse=False)
        if isinstance(module, NORMS) or name.endswith("bias") or parameter.ndim <= 1
    }

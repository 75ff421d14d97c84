"""The optimizers of torch.optim that step without a closure: their arguments and defaults.

A test holds `OPTIMIZERS` equal to the signatures of torch.optim, whose documentation
(https://docs.pytorch.org/docs/stable/optim.html) defines every argument.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from lrrun.config.optimizers import arguments as kinds
from lrrun.config.optimizers.arguments import Kind

KINDS: dict[str, Kind] = {
    "adjust_lr_fn": kinds.ADJUSTMENT,
    "alpha": kinds.SHARE,
    "amsgrad": kinds.SWITCH,
    "beta2_decay": kinds.NOT_POSITIVE,
    "betas": kinds.BETAS,
    "capturable": kinds.SWITCH,
    "centered": kinds.SWITCH,
    "d": kinds.AT_LEAST_1,
    "dampening": kinds.NUMBER,
    "decoupled_weight_decay": kinds.SWITCH,
    "differentiable": kinds.ALWAYS_OFF,
    "eps": kinds.NOT_NEGATIVE,
    "etas": kinds.ETAS,
    "foreach": kinds.AUTO_SWITCH,
    "fused": kinds.AUTO_SWITCH,
    "initial_accumulator_value": kinds.NOT_NEGATIVE,
    "lambd": kinds.NOT_NEGATIVE,
    "lr_decay": kinds.NOT_NEGATIVE,
    "maximize": kinds.SWITCH,
    "momentum": kinds.SHARE,
    "momentum_decay": kinds.NOT_NEGATIVE,
    "nesterov": kinds.SWITCH,
    "ns_coefficients": kinds.COEFFICIENTS,
    "ns_steps": kinds.ITERATIONS,
    "rho": kinds.SHARE,
    "step_sizes": kinds.STEP_SIZES,
    "t0": kinds.NOT_NEGATIVE,
    "weight_decay": kinds.NOT_NEGATIVE,
}
"""What an argument takes, wherever its name means the same."""


@dataclass(frozen=True, slots=True)
class Optimizer:
    """One class of torch.optim: its name there, its defaults without `lr`, its own kinds."""

    torch_name: str
    defaults: Mapping[str, object]
    own_kinds: Mapping[str, Kind] = field(default_factory=dict)

    def kind(self, argument: str) -> Kind:
        """What `argument` takes in this optimizer."""
        return self.own_kinds.get(argument) or KINDS[argument]


Defaults = Mapping[str, object]

_NO_DECAY: Defaults = {"weight_decay": 0.0}
_BETAS: Defaults = {"betas": (0.9, 0.999), "eps": 1e-8}
_LOOP: Defaults = {"foreach": None, "maximize": False, "differentiable": False}
_GRAPH: Defaults = {**_LOOP, "capturable": False}
_DECOUPLED: Defaults = {**_NO_DECAY, "decoupled_weight_decay": False}
_ADAM: Defaults = {**_BETAS, "amsgrad": False, **_GRAPH, "fused": None}
_SGD: Defaults = {"momentum": 0.0, "dampening": 0.0, "nesterov": False, **_NO_DECAY}
_RMSPROP: Defaults = {"alpha": 0.99, "eps": 1e-8, "momentum": 0.0, "centered": False}
_ADAGRAD: Defaults = {"lr_decay": 0.0, "initial_accumulator_value": 0.0, "eps": 1e-10}
_ADAFACTOR: Defaults = {"beta2_decay": -0.8, "eps": (None, 1e-3), "d": 1.0}
_MUON: Defaults = {"momentum": 0.95, "nesterov": True, "weight_decay": 0.1, "adjust_lr_fn": None}
_NEWTON_SCHULZ: Defaults = {
    "ns_coefficients": (3.4445, -4.775, 2.0315),
    "ns_steps": 5,
    "eps": 1e-7,
}

_ALL = (
    Optimizer("SGD", {**_SGD, **_LOOP, "fused": None}),
    Optimizer("Adam", {**_DECOUPLED, **_ADAM}),
    Optimizer("AdamW", {"weight_decay": 0.01, **_ADAM}),
    Optimizer("NAdam", {**_BETAS, "momentum_decay": 0.004, **_DECOUPLED, **_GRAPH}),
    Optimizer("RAdam", {**_BETAS, **_DECOUPLED, **_GRAPH}),
    Optimizer("Adamax", {**_BETAS, **_NO_DECAY, **_GRAPH}),
    Optimizer("RMSprop", {**_RMSPROP, **_NO_DECAY, **_GRAPH}),
    Optimizer("Adagrad", {**_ADAGRAD, **_NO_DECAY, **_LOOP, "fused": None}),
    Optimizer("Adadelta", {"rho": 0.9, "eps": 1e-6, **_NO_DECAY, **_GRAPH}),
    Optimizer(
        "ASGD",
        {"lambd": 1e-4, "alpha": 0.75, "t0": 1e6, **_NO_DECAY, **_GRAPH},
        {"alpha": kinds.NOT_NEGATIVE},  # here the power of the LR's decay
    ),
    Optimizer("Rprop", {"etas": (0.5, 1.2), "step_sizes": (1e-6, 50.0), **_GRAPH}),
    Optimizer(
        "Adafactor",
        {**_ADAFACTOR, **_NO_DECAY, "foreach": None, "maximize": False},
        {"eps": kinds.TWO_EPS},
    ),
    Optimizer("SparseAdam", {**_BETAS, "maximize": False}, {"eps": kinds.POSITIVE}),
    Optimizer("Muon", {**_MUON, **_NEWTON_SCHULZ}),
)

OPTIMIZERS: dict[str, Optimizer] = {each.torch_name.lower(): each for each in _ALL}
"""Our name → the optimizer; our names are torch's in lower case."""

_PREFIX = re.compile(r"torch\.optim(\.\w+)?[.:](?=\w+$)")


def canonical(written: str) -> str:
    """Our name of an optimizer that is written as torch or an import path writes it.

    >>> canonical("AdamW"), canonical("torch.optim.AdamW"), canonical("my.code:Lion")
    ('adamw', 'adamw', 'my.code:Lion')
    """
    bare = _PREFIX.sub("", written)
    for name, each in (*OPTIMIZERS.items(), ("lbfgs", None)):
        if bare == name or bare == (each.torch_name if each else "LBFGS"):
            return name
    return written

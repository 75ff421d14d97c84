"""From the `optimizer` section and a model to a torch optimizer with named param groups."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import nn
from torch.optim import Optimizer

from lrrun.config.optimizers import OPTIMIZERS, OptimizerSpec
from lrrun.errors import ConfigError, Problem
from lrrun.registry import import_callable
from lrrun.training.bare_optimizer import make
from lrrun.training.param_groups import ParamGroup, param_groups

FUSED_DEVICES = ("cpu", "cuda")
"""Where torch's fused optimizers run."""


def build_optimizer(
    spec: OptimizerSpec,
    model: nn.Module,
    folder: Path,
    base_lr: float | None = None,
    base: nn.Module | None = None,
    precision: str = "fp32",
) -> tuple[Optimizer, list[ParamGroup]]:
    """The optimizer, and its param groups in order.

    A group's `lr` is `base_lr` (by default `spec.lr`) times its lr_factor, a plain float. The model
    stands on its device already; `base` is the same at muP's base widths (`mup.base_model`), where
    the section has them. Somebody's own optimizer may lie in `folder`; it is called with the
    groups, `lr` and the section's other keys.

    Raises ConfigError where there is no LR, a group is empty, the optimizer does not fit the
    model, or somebody's own cannot be made.

    >>> optimizer, groups = build_optimizer(
    ...     OptimizerSpec(name="sgd", lr=0.5, groups=[{"match": "bias", "lr_factor": "10%"}]),
    ...     nn.Linear(3, 2),
    ...     Path(),
    ... )
    >>> [group.name for group in groups], [group["lr"] for group in optimizer.param_groups]
    (['default', 'bias'], [0.5, 0.05])
    """
    lr = spec.lr if base_lr is None else base_lr
    if lr is None:
        raise ConfigError([Problem(("optimizer", "lr"), "is missing; write lr: 0.01")])
    groups = param_groups(spec, model, base)
    if spec.is_custom:
        maker = import_callable(
            spec.name, spec.arguments, ("optimizer",), folder, filled=("lr",), leading=1
        )
    else:
        _refuse_misfits(spec, model, groups)
        maker = getattr(torch.optim, OPTIMIZERS[spec.name].torch_name)
    fastest = {} if precision == "fp16" else _fastest(spec, model, groups)
    arguments = {**fastest, **spec.arguments}
    try:
        optimizer = make(maker, [group.for_torch(lr) for group in groups], lr=lr, **arguments)
    except Exception as error:  # torch's own checks, or somebody's code: it is their message
        text = f"{spec.name} cannot be made: {type(error).__name__}: {error}"
        raise ConfigError([Problem(("optimizer",), text)]) from error
    if not isinstance(optimizer, Optimizer):
        text = f"expected a torch.optim.Optimizer from {spec.name}, got {type(optimizer).__name__}"
        raise ConfigError([Problem(("optimizer", "name"), text)])
    if _needs_closure(optimizer):
        text = f"{spec.name} needs a closure (several evaluations a step), which the loop has not"
        raise ConfigError([Problem(("optimizer", "name"), text)])
    return optimizer, groups


def _fastest(
    spec: OptimizerSpec, model: nn.Module, groups: Iterable[ParamGroup]
) -> dict[str, bool]:
    """`fused`, where torch has it for these parameters and the config leaves the choice open.

    One kernel then makes the whole update; its last bits are not those of torch's loop. (Not under
    fp16, whose first update may be made again: torch's fused SGD keeps no momentum through that.)
    """
    if spec.is_custom or "fused" not in OPTIMIZERS[spec.name].defaults:
        return {}
    chosen = any(spec.argument(key) for key in ("foreach", "differentiable", "capturable"))
    sparse = any(getattr(module, "sparse", False) for module in model.modules())
    parameters = [each for group in groups for each in group.parameters.values()]
    fits = all(p.device.type in FUSED_DEVICES and p.is_floating_point() for p in parameters)
    return {} if chosen or sparse or not fits else {"fused": True}


def _refuse_misfits(spec: OptimizerSpec, model: nn.Module, groups: Iterable[ParamGroup]) -> None:
    """Raise ConfigError where torch's optimizer would fail on these parameters, if only later."""
    parameters = {name: each for group in groups for name, each in group.parameters.items()}
    wrong: list[str] = []
    key = "name"
    if spec.name == "muon":
        wrong = [f"{name} {tuple(p.shape)}" for name, p in parameters.items() if p.ndim != 2]
        text = "muon takes matrices alone (2-D parameters); use adamw, or a class that joins both"
    elif spec.name == "sparseadam":
        sparse = {id(m.weight) for m in model.modules() if getattr(m, "sparse", False)}
        wrong = [name for name, p in parameters.items() if id(p) not in sparse]
        text = "sparseadam takes sparse gradients alone (nn.Embedding(sparse=True)); use adam"
    elif spec.argument("capturable"):
        key = "capturable"
        wrong = [name for name, p in parameters.items() if p.device.type == "cpu"]
        text = "capturable is for parameters on an accelerator; leave it out on the CPU"
    if wrong:
        shown = ", ".join(wrong[:4]) + (", …" if len(wrong) > 4 else "")
        count = f"{len(wrong)} of {len(parameters)} parameters do not fit: {shown}"
        raise ConfigError([Problem(("optimizer", key), f"{text} ({count})")])


def _needs_closure(optimizer: Optimizer) -> bool:
    closure = inspect.signature(type(optimizer).step).parameters.get("closure")
    return closure is not None and closure.default is inspect.Parameter.empty

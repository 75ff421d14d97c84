"""The options of a param group, of all replicas: which are numbers, and which are switches.

torch keeps some numbers in pairs; here each has a name of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from lrrun.training.fused.arithmetic import Number
from lrrun.training.fused.refusal import NotFusable

PAIRS = {
    "betas": ("beta1", "beta2"),
    "etas": ("eta_minus", "eta_plus"),
    "step_sizes": ("least", "most"),
}
"""An option of two numbers → their names here."""

_IGNORED = {"params", "name", "foreach", "fused", "capturable", "differentiable"}
"""What says how torch computes, not what."""


def flat(group: Mapping[str, Any]) -> dict[str, Any]:
    """The options that an update depends on, pairs taken apart.

    >>> flat({"lr": 0.1, "betas": (0.9, 0.99), "maximize": False, "foreach": None, "params": []})
    {'lr': 0.1, 'beta1': 0.9, 'beta2': 0.99, 'maximize': False}
    """
    found: dict[str, Any] = {}
    for key, value in group.items():
        if key in PAIRS:
            found |= zip(PAIRS[key], value, strict=True)
        elif key not in _IGNORED:
            found[key] = value
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def numbers_of(groups: Sequence[Mapping[str, Any]], device: torch.device) -> dict[str, Number]:
    """Each number, as a float where all replicas have the same."""
    each = [flat(group) for group in groups]
    found: dict[str, Number] = {}
    for name in (name for name, value in each[0].items() if _is_number(value)):
        found[name] = joined([float(group[name]) for group in each], device)
    return found


def joined(values: Sequence[float], device: torch.device) -> Number:
    """One float for all, or a tensor (K,) where they differ."""
    if len(set(values)) == 1:
        return values[0]
    return torch.tensor(values, dtype=torch.float64, device=device)


def switches_of(groups: Sequence[Mapping[str, Any]]) -> dict[str, object]:
    """Each option that is no number; raises NotFusable where replicas differ in one."""
    each = [flat(group) for group in groups]
    found = {name: value for name, value in each[0].items() if not _is_number(value)}
    for name, value in found.items():
        if any(group[name] != value for group in each):
            raise NotFusable(f"the optimizer's {name}, which must be the same for all replicas")
    if type(groups[0].get("decoupled_weight_decay")) is not bool:
        found["decoupled_weight_decay"] = False
    return found


def write_number(group: dict[str, Any], name: str, value: float) -> None:
    """Put a number back where torch keeps it."""
    for option, names in PAIRS.items():
        if name in names and option in group:
            pair = list(group[option])
            pair[names.index(name)] = value
            group[option] = tuple(pair)
            return
    group[name] = value

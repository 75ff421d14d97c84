"""How close a run that was trained with others, as one stacked model, is to the same run alone.

A stack adds up the same products in another order, so that the two differ in the last bits; from
there training lets them drift apart, little where it is smooth, more where it is not (convolutions
in float32 by some percent of the loss in 200 steps). The rows, the LRs and the steps are the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

RELATIVE = 0.05
"""What a loss, a metric, or the norm of what a weight tensor has moved by may differ."""

SENTENCE = (
    "it was trained fused with {others} other runs: alone it goes on with the same rows and LRs, "
    "and with losses that are equal but for rounding, not bit for bit"
)


def of(info: Mapping[str, Any]) -> float:
    """The tolerance that the run of this run.json is held to: 0 for one that was trained alone.

    >>> of({"engine": {"fused": 16}}), of({})
    (0.05, 0.0)
    """
    return RELATIVE if fused_with(info) else 0.0


def fused_with(info: Mapping[str, Any]) -> int:
    """How many other runs it was trained with."""
    engine = info.get("engine")
    return int(engine["fused"]) - 1 if isinstance(engine, Mapping) else 0


def draws_masks(model: nn.Module) -> bool:
    """Does it drop at random? In a stack each replica has masks that nobody can draw again."""
    kinds = nn.modules.dropout._DropoutNd
    return any(isinstance(each, kinds) and each.p > 0 for each in model.modules())


def near(one: float, other: float, tolerance: float) -> bool:
    """Do two numbers agree? nan agrees with nan."""
    if one == other or (one != one and other != other):
        return True
    return abs(one - other) <= tolerance * max(abs(one), abs(other))


def far_apart(
    one: Mapping[str, Tensor], other: Mapping[str, Tensor], tolerance: float
) -> list[str]:
    """The names of the tensors of two models whose difference is too large a part of them."""
    found = []
    for name in dict.fromkeys([*one, *other]):
        a, b = one.get(name), other.get(name)
        if (
            a is None
            or b is None
            or a.shape != b.shape
            or not bool((a.double() - b.double()).norm() <= tolerance * b.double().norm())
        ):
            found.append(name)
    return found

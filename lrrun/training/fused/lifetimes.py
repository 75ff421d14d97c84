"""Where the values of a graph lie, and how long each is needed."""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch._ops import OpOverload

from lrrun.training.fused.graph import PRODUCTS, is_view


class Memory:
    """Memory of intermediate results, used again by later ones of the same size."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._free: dict[tuple[torch.dtype, int], list[Tensor]] = {}
        self._taken: dict[int, Tensor] = {}

    def take(self, like: Any) -> Any:
        """A tensor of this shape, layout and dtype, of whatever values."""
        if not isinstance(like, Tensor):
            return like
        size = 1 + sum((n - 1) * step for n, step in zip(like.shape, like.stride(), strict=True))
        size = size if like.numel() else 0
        free = self._free.get((like.dtype, size))
        flat = free.pop() if free else torch.empty(size, dtype=like.dtype, device=self._device)
        tensor = flat.as_strided(like.shape, like.stride())
        self._taken[id(tensor)] = flat
        return tensor

    def give_back(self, value: Any) -> None:
        """No operation reads this any more."""
        for each in value if isinstance(value, (tuple, list)) else (value,):
            flat = self._taken.pop(id(each), None)
            if flat is not None:
                self._free.setdefault((flat.dtype, len(flat)), []).append(flat)


def last_uses(nodes: Sequence[fx.Node]) -> dict[fx.Node, list[fx.Node]]:
    """Node → those whose memory nobody needs behind it. What is an output lives on."""
    last: dict[fx.Node, fx.Node] = {}
    for node in nodes:
        for each in (node, *node.all_input_nodes):
            last[owner_of(each)] = node
            stands_for: fx.Node | None = each
            while stands_for is not None:
                last[stands_for] = node
                stands_for = changed_by(stands_for)
    dying: dict[fx.Node, list[fx.Node]] = {}
    for each, user in last.items():
        if each.op == "call_function" and changed_by(each) is None and user.op != "output":
            dying.setdefault(user, []).append(each)
    return dying


def owner_of(node: fx.Node) -> fx.Node:
    """The node in whose memory this one's value lies."""
    while True:
        changed = changed_by(node)
        if changed is not None:
            node = changed
        elif node.target is operator.getitem or is_view(node):
            node = node.args[0]  # type: ignore[assignment]
        else:
            return node


def changed_by(node: fx.Node) -> fx.Node | None:
    """The node whose value this one's operation overwrites, if it does, and then stands for."""
    written = _written(node.target) if isinstance(node.target, OpOverload) else None
    if written is None:
        return None
    index, name = written
    found = node.kwargs[name] if name in node.kwargs else node.args[index]
    return found  # type: ignore[return-value]


@functools.cache
def _written(target: OpOverload) -> tuple[int, str] | None:
    """Which argument of an operation it writes into, by number and name."""
    for index, each in enumerate(target._schema.arguments):
        if each.alias_info is not None and each.alias_info.is_write:
            return index, each.name
    return None


def places_of(outputs: Sequence[Any], into: Mapping[int, Tensor]) -> dict[fx.Node, Tensor]:
    """Nodes that can write an output where it is wanted, as they shape it, and the outputs."""
    found: dict[fx.Node, Tensor] = {}
    for index, place in into.items():
        node = outputs[index]
        owner, value = owner_of(node), node.meta["val"]
        whole = owner.meta.get("val")
        if owner.op != "call_function" or not isinstance(whole, Tensor) or owner in found:
            continue
        if not (whole.is_contiguous() and value.is_contiguous() and len(whole) == len(place)):
            continue
        if whole.numel() != value.numel() or whole.dtype != place.dtype:
            continue
        if owner.target in PRODUCTS and not place.is_contiguous():
            continue  # torch would multiply one replica's matrices after the other
        try:
            found[owner] = place.view(whole.shape)
        except RuntimeError:  # the rows of `place` do not follow one another
            continue
        found[node] = place
    return found

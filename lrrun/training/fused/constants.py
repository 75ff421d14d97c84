"""What a traced graph computes anew at every call though it never changes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx
from torch._ops import OpOverload

from lrrun.training.fused.tracing import Traced

aten = torch.ops.aten

_OF_SHAPES = {aten.ones_like.default, aten.zeros_like.default, aten.full_like.default}
"""Operations that only look at how their argument is laid out."""


def precompute(traced: Traced) -> None:
    """What depends on no input, or on its shape alone, is computed once."""
    graph, constants = traced.graph, traced.constants
    known: dict[fx.Node, Any] = {}
    for node in list(graph.nodes):
        if node.op == "get_attr":
            known[node] = constants[str(node.target)]
        needs = [] if node.target in _OF_SHAPES else node.all_input_nodes
        if node.op != "call_function" or not all(each in known for each in needs):
            continue
        if not is_deterministic(node) or not isinstance(node.meta.get("val"), Tensor):
            continue
        given = {**known, **{each: _blank(each) for each in node.all_input_nodes if not needs}}
        args, kwargs = fx.map_arg((node.args, node.kwargs), given.__getitem__)
        name = f"constant_{node.name}"
        constants[name] = node.target(*args, **kwargs)
        with graph.inserting_before(node):
            constant = graph.create_node("get_attr", name)
        constant.meta["val"] = node.meta["val"]
        node.replace_all_uses_with(constant)
        known[constant] = constants[name]
    traced.drop_unused()


def is_deterministic(node: fx.Node) -> bool:
    """Does the operation give the same for the same arguments, and change none of them?"""
    target = node.target
    return (
        isinstance(target, OpOverload)
        and torch.Tag.nondeterministic_seeded not in target.tags
        and not target._schema.is_mutable
    )


def _blank(node: fx.Node) -> Tensor:
    value, device = node.meta["val"], node.meta["device"]
    return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device=device)

"""Fewer and cheaper operations for the same values: a traced graph, cleaned.

What a trace of batched code holds beside the work: views that change nothing, products by 1,
results that are computed again, constants that are made at every call, a transposition behind a
matrix product, memory for each intermediate result.
"""

from __future__ import annotations

import functools
import operator
from typing import Any

import torch
from torch import Tensor, fx
from torch._ops import OpOverload

from lrrun.training.fused.constants import is_deterministic, precompute
from lrrun.training.fused.tracing import Traced

aten = torch.ops.aten

PRODUCTS = {aten.bmm.default, aten.baddbmm.default}
_IN_PLACE = {
    aten.relu.default: aten.relu_.default,
    aten.add.Tensor: aten.add_.Tensor,
    aten.mul.Tensor: aten.mul_.Tensor,
    aten.div.Tensor: aten.div_.Tensor,
}
"""Pointwise operations → those that write into their first argument."""

_BY_SCALAR = {
    aten.add.Scalar: aten.add.Tensor,
    aten.div.Scalar: aten.div.Tensor,
    aten.mul.Scalar: aten.mul.Tensor,
    aten.sub.Scalar: aten.sub.Tensor,
}
"""Operations with a number → the same, which can also be told where to write."""


def clean(traced: Traced, kept: int = 0) -> Traced:
    """The same function with fewer operations; changes `traced`, whose shapes are then fixed.

    All its outputs but the first `kept` get contiguous memory of their own.
    """
    traced.drop_unused()
    for node in traced.graph.nodes:
        node.target = _BY_SCALAR.get(node.target, node.target)
    _drop_no_ops(traced)
    _add_in_products(traced)
    _turn_products(traced)
    _drop_no_ops(traced)
    precompute(traced)
    _merge_equal(traced)
    _own_outputs(traced.graph, kept)
    _work_in_place(traced.graph)
    traced.drop_unused()
    return traced


def _value(node: fx.Node) -> Any:
    """The tensor (without data) that a node stands for; None where it is something else."""
    value = node.meta.get("val")
    return value if isinstance(value, Tensor) else None


def is_view(node: fx.Node) -> bool:
    """Does the node show all or a part of its first argument's elements, in their memory?"""
    return isinstance(node.target, OpOverload) and _shows(node.target)


@functools.cache
def _shows(target: OpOverload) -> bool:
    if target is aten._unsafe_view.default:
        return True
    if target is aten.as_strided.default or len(target._schema.returns) != 1:
        return False
    alias = target._schema.returns[0].alias_info
    return alias is not None and not alias.is_write


def _base(node: fx.Node) -> fx.Node:
    """The node whose memory this one shows."""
    while is_view(node) or node.target is operator.getitem:
        node = node.args[0]  # type: ignore[assignment]
    return node


def _looks_the_same(one: fx.Node, other: fx.Node) -> bool:
    a, b = _value(one), _value(other)
    if a is None or b is None:
        return False
    same: bool = a.shape == b.shape and a.dtype == b.dtype and a.stride() == b.stride()
    return same


def _drop_no_ops(traced: Traced) -> None:
    """Views of views that show what an earlier one shows, x · 1, copies into the layout it has."""
    for node in traced.graph.nodes:
        if node.target is aten.mul.Tensor and node.args[1] == 1:
            _use_instead(node, node.args[0])
        elif node.target is aten.clone.default and "memory_format" in node.kwargs:
            if _looks_the_same(node, node.args[0]):
                node.replace_all_uses_with(node.args[0])
        elif is_view(node):
            earlier = node
            while is_view(earlier):
                earlier = earlier.args[0]
                if _looks_the_same(node, earlier):
                    node.replace_all_uses_with(earlier)
                    break
    traced.drop_unused()


def _use_instead(node: fx.Node, source: fx.Node) -> None:
    """Replace a node by one of the same values, whose layout may be another: where all views of it
    can be taken of that.
    """
    value = _value(source)
    if value.shape != _value(node).shape or value.dtype != _value(node).dtype:
        return
    try:
        shown = _views_of(node, _without_data(value))
    except RuntimeError:
        return
    for view, seen in shown.items():
        view.meta["val"] = seen
    node.replace_all_uses_with(source)


def _views_of(node: fx.Node, value: Tensor) -> dict[fx.Node, Tensor]:
    """What the views of a node are where it has this value; raises RuntimeError."""
    found: dict[fx.Node, Tensor] = {}
    for view in (each for each in node.users if is_view(each)):
        found[view] = view.target(value, *view.args[1:], **view.kwargs)  # type: ignore[operator]
        found |= _views_of(view, found[view])
    return found


def _call(graph: fx.Graph, before: fx.Node, target: OpOverload, *args: Any) -> fx.Node:
    """A new node before `before`, its value known."""
    with graph.inserting_before(before):
        node = graph.call_function(target, args)
    shown = fx.map_arg(args, lambda each: _without_data(_value(each)))
    if target in PRODUCTS:  # what torch has for these without data loads sympy
        shape = (*shown[-2].shape[:-1], shown[-1].shape[-1])
        node.meta["val"] = shown[-1].new_empty(shape)
    else:
        node.meta["val"] = target(*shown)
    return node


def _without_data(value: Tensor) -> Tensor:
    return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="meta")


def _transposes(node: fx.Node) -> bool:
    """Does it swap the last two of three dimensions?"""
    if node.target is not aten.transpose.int or _value(node).ndim != 3:
        return False
    return {each % 3 for each in node.args[1:]} == {1, 2}  # type: ignore[operator]


def _turn_products(traced: Traced) -> None:
    """Where only its transpose is used, a product is made as (a b)ᵀ = bᵀ aᵀ.

    So a weight's gradient has the weight's own layout, and logits that which the loss asks for.
    """
    for node in traced.graph.nodes:
        product = node.args[0] if node.args else None
        if not (isinstance(product, fx.Node) and product.target in PRODUCTS):
            continue
        if len(product.users) == 1 and _transposes(node):
            *bias, first, second = product.args
            turned = [
                _call(traced.graph, node, aten.transpose.int, each, 1, 2)
                for each in (*bias, second, first)
            ]
            node.replace_all_uses_with(_call(traced.graph, node, product.target, *turned))
    traced.drop_unused()


def _merge_equal(traced: Traced) -> None:
    """One operation for those that are the same on the same inputs."""
    seen: dict[Any, fx.Node] = {}
    for node in traced.graph.nodes:
        getitem = node.target is operator.getitem
        if not getitem and (not is_deterministic(node) or node.target is aten.clone.default):
            continue
        key = repr((node.target, node.args, sorted(node.kwargs.items())))
        earlier = seen.setdefault(key, node)
        if earlier is not node:
            node.replace_all_uses_with(earlier)
    traced.drop_unused()


def _add_in_products(traced: Traced) -> None:
    """The sum a b + c as one operation, where c is a bias: (K, 1, ..., 1, O)."""
    for node in traced.graph.nodes:
        if node.target is not aten.add.Tensor or len(node.args) != 2 or node.kwargs:
            continue
        for bias, shown in (node.args, node.args[::-1]):
            if not (isinstance(bias, fx.Node) and isinstance(shown, fx.Node)):
                continue
            product = _product_behind(shown)
            if product is not None and _is_bias(bias, node, product):
                k, _, outputs = _value(product).shape
                row = _call(traced.graph, node, aten.view.default, bias, [k, 1, outputs])
                both = _call(traced.graph, node, aten.baddbmm.default, row, *product.args)
                shape = list(_value(node).shape)
                node.replace_all_uses_with(
                    _call(traced.graph, node, aten.view.default, both, shape)
                )
                break
    _drop_no_ops(traced)


def _product_behind(node: fx.Node) -> fx.Node | None:
    """The matrix product that `node` is, or shows with other leading dimensions, alone."""
    while is_view(node) and len(node.users) == 1:
        source = node.args[0]
        if not (isinstance(source, fx.Node) and _value(node).is_contiguous()):
            return None
        if _value(source).shape[-1] != _value(node).shape[-1]:
            return None
        node = source
    return node if node.target is aten.bmm.default and len(node.users) == 1 else None


def _is_bias(bias: fx.Node, total: fx.Node, product: fx.Node) -> bool:
    k, *between, outputs = _value(total).shape
    value = _value(bias)
    one_row = value.shape == (k, *(1 for _ in between), outputs)
    same_kind: bool = value.dtype == _value(product).dtype and value.stride(-1) == 1
    return one_row and same_kind


def _own_outputs(graph: fx.Graph, kept: int) -> None:
    """Copies of outputs that are somebody else's memory, twice the same, or not contiguous."""
    (end,) = (node for node in graph.nodes if node.op == "output")
    outputs = list(end.args[0])
    taken: set[fx.Node] = {_base(each) for each in outputs[:kept]}
    for index, each in enumerate(outputs[kept:], start=kept):
        if not isinstance(each, fx.Node):
            continue
        base = _base(each)
        shared = base.op != "call_function" or base in taken
        partial = _value(base) is not None and _value(base).numel() != _value(each).numel()
        if shared or partial or not _value(each).is_contiguous():
            with graph.inserting_before(end):
                copy = graph.call_function(
                    aten.clone.default, (each,), {"memory_format": torch.contiguous_format}
                )
            copy.meta["val"] = _without_data(_value(each)).contiguous()
            outputs[index] = copy
        taken.add(base)
    end.args = (outputs,)


def _work_in_place(graph: fx.Graph) -> None:
    """Results written over an argument that nobody reads any more."""
    for node in graph.nodes:
        first = node.args[0] if node.args else None
        if not (isinstance(first, fx.Node) and _is_free(first) and _looks_the_same(node, first)):
            continue
        if node.target in _IN_PLACE:
            node.target = _IN_PLACE[node.target]
        elif node.target is aten.threshold_backward.default:
            node.target = aten.threshold_backward.grad_input
            node.kwargs = {"grad_input": first}


def _is_free(node: fx.Node) -> bool:
    """Is its memory its own, and read by one operation alone?"""
    while len(node.users) == 1 and is_view(node):
        node = node.args[0]  # type: ignore[assignment]
    own = node.op == "call_function" and isinstance(node.target, OpOverload)
    return own and len(node.users) == 1 and not is_view(node)

"""From a function of tensors to the flat list of operations that it consists of."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, fx
from torch.func import functionalize
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.attention import SDPBackend, sdpa_kernel

from lrrun.training.fused.refusal import NotFusable

TensorFunction = Callable[..., Sequence[Tensor]]

_REASONS = {
    r"\.item\(\)|_local_scalar_dense|trying to get a value out of": "the value of a tensor is read"
    " in the forward pass (.item(), float(), or an if on it)",
    r"data-dependent control flow": "control flow depends on a tensor's value",
    r"inplace arithmetic|in-place|inplace": "a tensor that replicas share is changed in place",
    r"not have been used in the graph": "the loss does not depend on every parameter",
    r"dynamic shape|nonzero|masked_select|boolean mask": "a shape depends on a tensor's value",
}
"""What torch's message holds → what a person can look for in the model."""

_OPERATION = re.compile(r"aten::\w+(?:\.\w+)?")


def trace(function: TensorFunction, *tensors: Tensor) -> fx.GraphModule:
    """The operations that `function` carries out on tensors of these shapes, free of mutations.

    The function is called, with the real tensors; random numbers are put back afterwards. Raises
    NotFusable where it has a part that torch cannot batch over replicas, or batches by a loop.
    """
    devices = {each.device for each in tensors if each.device.type == "cuda"}
    try:
        with (
            warnings.catch_warnings(record=True) as caught,
            torch.random.fork_rng(devices),
            sdpa_kernel(SDPBackend.MATH),  # the other kernels have no rule for batching
        ):
            warnings.simplefilter("always")
            module = make_fx(function)(*tensors)
            if any(_mutates(node) for node in module.graph.nodes):
                module = make_fx(functionalize(module, remove="mutations"))(*tensors)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # torch has no class of its own for these, and a model may raise any
        if "allocate memory" in str(error):
            raise
        raise NotFusable(_reason(error)) from error
    for each in caught:
        if "batching rule" in str(each.message):
            found = _OPERATION.search(str(each.message))
            raise NotFusable(f"{found.group() if found else 'an operation'} has no batched form")
    return module


def _mutates(node: fx.Node) -> bool:
    return isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable


def _reason(error: Exception) -> str:
    text = str(error)
    for pattern, reason in _REASONS.items():
        if re.search(pattern, text):
            return reason
    found = _OPERATION.search(text)
    first = text.strip().splitlines()[0] if text.strip() else ""
    return found.group() if found else f"{type(error).__name__}: {first}"

"""From a function of tensors to the flat list of operations that it consists of."""

from __future__ import annotations

import operator
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.func import functionalize
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from lrrun.training.fused.refusal import NotFusable

TensorFunction = Callable[..., Sequence[Tensor]]

_READ = "the value of a tensor is read in the forward pass (.item(), float(), or an if on it)"
_SHAPED = "a shape depends on a tensor's value"
_REASONS = {
    r"\.item\(\)|_local_scalar_dense": _READ,
    r"data-dependent control flow": "control flow depends on a tensor's value",
    r"inplace arithmetic|in-place|inplace": "a tensor that replicas share is changed in place",
    r"not have been used in the graph": "the loss does not depend on every parameter",
    r"dynamic shape|nonzero|masked_select|boolean mask": _SHAPED,
}
"""What torch's message holds → what a person can look for in the model."""

_OPERATION = re.compile(r"aten::\w+(?:\.\w+)?")


@dataclass(eq=False)
class Traced:
    """A function of tensors as a graph of operations, and its constants by their nodes' names."""

    graph: fx.Graph
    constants: dict[str, Tensor]

    def module(self) -> fx.GraphModule:
        """The same as a module that can be called, or compiled."""
        root = nn.Module()
        for name, value in self.constants.items():
            root.register_buffer(name, value)
        return fx.GraphModule(root, self.graph)

    def drop_unused(self) -> None:
        """Without the operations whose results nobody reads, unless they do something else."""
        for node in reversed(self.graph.nodes):
            if not node.users and node.op in ("call_function", "get_attr") and not _acts(node):
                self.graph.erase_node(node)


def trace(function: TensorFunction, *tensors: Tensor) -> Traced:
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
            traced = _recorded(function, *tensors)
            if any(_mutates(node) for node in traced.graph.nodes):
                free = functionalize(traced.module(), remove="mutations")
                traced = _recorded(free, *tensors)
    except (torch.OutOfMemoryError, NotFusable):
        raise
    except Exception as error:  # torch has no class of its own for these, and a model may raise any
        if "allocate memory" in str(error):
            raise
        raise NotFusable(_reason(error)) from error
    for each in caught:
        if "batching rule" in str(each.message):
            found = _OPERATION.search(str(each.message))
            raise NotFusable(f"{found.group() if found else 'an operation'} has no batched form")
    return traced


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Writes down every operation that reaches the device, behind autograd and vmap.

    torch's make_fx does so too, and more; it takes thrice as long and loads torch's compiler,
    which takes as long as torch.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.graph = fx.Graph()
        self.constants: dict[str, Tensor] = {}
        self._nodes: dict[int, fx.Node] = {}
        self._seen: list[Tensor] = []  # alive, so that no other gets the id of one
        for index, each in enumerate(tensors):
            self._know(each, self.graph.placeholder(f"input_{index}"))

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Torch asks; what is skipped is loaded first."""
        return False

    def node(self, value: Any) -> Any:
        """The node of a tensor; one of a constant for a tensor from elsewhere."""
        if not isinstance(value, Tensor):
            return value
        if id(value) not in self._nodes:
            name = f"from_outside_{len(self.constants)}"
            self.constants[name] = value
            self._know(value, self.graph.create_node("get_attr", name))
        return self._nodes[id(value)]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func._can_decompose():
            with self:
                found = func.decompose(*args, **kwargs)
            if found is not NotImplemented:
                return found
        if func is torch.ops.aten._local_scalar_dense.default:
            raise NotFusable(_READ)
        if torch.Tag.dynamic_output_shape in func.tags:
            raise NotFusable(_SHAPED)
        found = func(*args, **kwargs)
        if isinstance(found, (Tensor, tuple, list)):
            own: Any = fx.node.map_aggregate((args, kwargs), self.node)
            self._made(found, self.graph.call_function(func, *own))
        return found

    def _made(self, found: Any, node: fx.Node) -> None:
        if isinstance(found, Tensor):
            self._know(found, node)
            return
        node.meta["val"] = tuple(map(_shown, found))
        for index, each in enumerate(found):
            if isinstance(each, Tensor):
                self._know(each, self.graph.call_function(operator.getitem, (node, index)))

    def _know(self, tensor: Tensor, node: fx.Node) -> None:
        node.meta["val"], node.meta["device"] = _shown(tensor), tensor.device
        self._nodes[id(tensor)] = node
        self._seen.append(tensor)


def _shown(value: Any) -> Any:
    """A tensor's shape, layout and dtype, without its data."""
    if not isinstance(value, Tensor):
        return value
    return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="meta")


def _recorded(function: TensorFunction, *tensors: Tensor) -> Traced:
    recorder = _Recorder(tensors)
    with recorder:
        outputs = function(*tensors)
    recorder.graph.output([recorder.node(each) for each in outputs])
    return Traced(recorder.graph, recorder.constants)


def _mutates(node: fx.Node) -> bool:
    return isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable


def _acts(node: fx.Node) -> bool:
    """Does it change a tensor, or move a random generator on?"""
    if not isinstance(node.target, torch._ops.OpOverload):
        return False
    return _mutates(node) or torch.Tag.nondeterministic_seeded in node.target.tags


def _reason(error: Exception) -> str:
    text = str(error)
    for pattern, reason in _REASONS.items():
        if re.search(pattern, text):
            return reason
    found = _OPERATION.search(text)
    first = text.strip().splitlines()[0] if text.strip() else ""
    return found.group() if found else f"{type(error).__name__}: {first}"

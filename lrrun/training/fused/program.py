"""A graph of operations bound to memory: at a call they run one after another, and nothing is
allocated, shown from another side, or looked up that can be once and for all.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx
from torch._ops import OpOverload

from lrrun.training.fused.graph import is_view
from lrrun.training.fused.lifetimes import Memory, changed_by, last_uses, owner_of, places_of
from lrrun.training.fused.tracing import Traced

aten = torch.ops.aten

_COPIES = (aten.clone.default, aten._to_copy.default)
"""Operations whose result is their argument, in another layout or dtype."""

_QUICK = {
    "_log_softmax",
    "_log_softmax_backward_data",
    "add",
    "baddbmm",
    "bmm",
    "div",
    "mm",
    "mul",
    "sub",
    "sum",
}
"""Operations that torch's own Python functions, of the same arguments, start faster."""


@dataclass(eq=False)
class _Slot:
    """A value that is made anew at every call."""

    value: Any = None

    def clear(self) -> None:
        self.value = None


class Program:
    """`traced` with its tensors in place; `program(x, y)` gives its outputs.

    `inputs` are all its inputs but the last two, and are read where they lie; `x` and `y` are
    batches like those of every call, which are copied. `into` says where outputs are written, by
    their number. What a call returns is overwritten by the next one.
    """

    def __init__(
        self,
        traced: Traced,
        inputs: Sequence[Tensor],
        x: Tensor,
        y: Tensor,
        into: Mapping[int, Tensor],
    ) -> None:
        self._x, self._y = torch.empty_like(x), torch.empty_like(y)
        bound = _Binding(traced, [*inputs, self._x, self._y], into)
        self._calls, self._outputs = bound.calls, bound.outputs

    def __call__(self, x: Tensor, y: Tensor) -> list[Tensor]:
        """The outputs for this batch."""
        self._x.copy_(x)
        self._y.copy_(y)
        for call in self._calls:
            call()
        found = [_present(each) for each in self._outputs]
        for each in self._outputs:
            if isinstance(each, _Slot):
                each.clear()
        return found


class Compiled:
    """The same, by kernels that torch.compile makes of it."""

    def __init__(
        self,
        traced: Traced,
        inputs: Sequence[Tensor],
        x: Tensor,
        y: Tensor,
        into: Mapping[int, Tensor],
    ) -> None:
        self._run = torch.compile(traced.module())
        self._inputs, self._into = inputs, into

    def __call__(self, x: Tensor, y: Tensor) -> list[Tensor]:
        """The outputs for this batch."""
        found = list(self._run(*self._inputs, x, y))
        if self._into:
            torch._foreach_copy_(list(self._into.values()), [found[k] for k in self._into])
        return found


class _Binding:
    """Goes through a graph once, and decides for every node: known from now on, or a call."""

    def __init__(
        self, traced: Traced, inputs: Sequence[Tensor], into: Mapping[int, Tensor]
    ) -> None:
        self.calls: list[Callable[[], object]] = []
        self.outputs: list[Any] = []
        self._values: dict[fx.Node, Any] = {}
        self._constants = traced.constants
        self._memory = Memory(inputs[0].device)
        self._key = inputs[0].device.type.upper()
        *nodes, end = traced.graph.nodes
        self._places = places_of(end.args[0], into)
        dying = last_uses([*nodes, end])
        given = iter(inputs)
        for node in nodes:
            self._values[node] = next(given) if node.op == "placeholder" else self._value(node)
            for dead in dying.get(node, ()):
                self._release(dead)
        for index, each in enumerate(end.args[0]):
            value = self._bound(each)
            if index in into and each not in self._places:
                self._call(into[index].copy_, (value,), {})
            self.outputs.append(into.get(index, value))

    def _bound(self, arguments: Any) -> Any:
        return fx.map_arg(arguments, self._values.__getitem__)

    def _value(self, node: fx.Node) -> Any:
        if node.op == "get_attr":
            return self._constants[str(node.target)]
        args, kwargs = self._bound((node.args, node.kwargs))
        shows = node.target is operator.getitem or is_view(node)
        if shows and not isinstance(args[0], _Slot):
            return node.target(*args, **kwargs)  # type: ignore[operator]
        found = None if shows else self._with_memory(node, args, kwargs)
        if found is not None:
            return found
        slot = _Slot()
        self._call(node.target, args, kwargs, slot)  # type: ignore[arg-type]
        return slot

    def _with_memory(self, node: fx.Node, args: Any, kwargs: Any) -> Any:
        """The tensors that the node's operation writes at every call; None where it cannot."""
        target = node.target
        if not isinstance(target, OpOverload):
            return None
        changed = changed_by(node)
        if changed is not None:
            self._call(target, args, kwargs)
            return self._values[changed]
        if target in _COPIES:
            room = self._room(node)
            self._call(room.copy_, (args[0],), {})
            return room
        write = _out_variant(target, self._key)
        if write is None:
            return None
        room = self._room(node)
        rooms = room if isinstance(room, tuple) else (room,)
        names = [each.name for each in write._schema.arguments if each.is_out]
        self._call(_quick(write), args, {**kwargs, **dict(zip(names, rooms, strict=True))})
        return room

    def _room(self, node: fx.Node) -> Any:
        if node in self._places:
            return self._places[node]
        return fx.node.map_aggregate(node.meta["val"], self._memory.take)

    def _call(
        self, function: Callable[..., Any], args: Any, kwargs: Any, slot: _Slot | None = None
    ) -> None:
        waits: list[Any] = []
        fx.node.map_aggregate((args, kwargs), lambda each: _note(each, waits))
        if slot is None and not waits:
            self.calls.append(functools.partial(function, *args, **kwargs))
        else:
            self.calls.append(functools.partial(_carry_out, function, args, kwargs, slot))

    def _release(self, node: fx.Node) -> None:
        value = self._values[node]
        if isinstance(value, _Slot):
            self.calls.append(value.clear)
        elif owner_of(node) is node:
            self._memory.give_back(value)


@functools.cache
def _out_variant(target: OpOverload, key: str) -> OpOverload | None:
    """The overload that writes into tensors given to it, by a kernel of this device's own."""
    packet = target._overloadpacket
    wanted = [(each.name, str(each.type)) for each in target._schema.arguments]
    for name in packet.overloads():  # type: ignore[no-untyped-call]
        other: OpOverload = getattr(packet, name)
        arguments = other._schema.arguments
        taken = [(each.name, str(each.type)) for each in arguments if not each.is_out]
        if len(taken) == len(arguments) or taken != wanted:
            continue
        called = f"{other._schema.name}.{other._schema.overload_name}"
        if torch._C._dispatch_has_kernel_for_dispatch_key(called, key):
            return other
    return None


def _quick(write: OpOverload) -> Callable[..., Any]:
    name = write._overloadpacket.__name__
    return getattr(torch, name) if name in _QUICK else write


def _note(value: Any, waits: list[Any]) -> Any:
    if isinstance(value, _Slot):
        waits.append(value)
    return value


def _present(value: Any) -> Any:
    return value.value if isinstance(value, _Slot) else value


def _carry_out(function: Callable[..., Any], args: Any, kwargs: Any, slot: _Slot | None) -> None:
    args, kwargs = fx.node.map_aggregate((args, kwargs), _present)
    found = function(*args, **kwargs)
    if slot is not None:
        slot.value = found

"""A param group of all replicas: what an update rule works on.

Shapes: K replicas, P numbers of each; tensors are blocks, (K, P), one for each dtype of the group.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lrrun.training.fused.arithmetic import Number, Tensors, is_zero, plus, rounded, scale_, spread
from lrrun.training.fused.blocks import Block


@dataclass
class Group:
    """Parameters, numbers and switches of a group, and what its rule remembers between updates.

    `moments` are laid out like the parameters and `counters` are numbers, both by torch's names.
    They begin at 0, unless `starts` names another value, or a number of the group. `names` are
    those of the group's trained parameters, `places` says which of the group's these are.
    """

    places: list[int]
    names: list[str]
    blocks: Sequence[Block]
    numbers: dict[str, Number]
    switches: Mapping[str, object]
    starts: Mapping[str, float | str]
    moments: dict[str, Tensors] = field(default_factory=dict)
    counters: dict[str, Number] = field(default_factory=dict)
    parameters: Tensors = field(init=False)
    grads: Tensors = field(init=False)

    def __post_init__(self) -> None:
        self.parameters = [each.values for each in self.blocks]
        self.grads = [each.grads for each in self.blocks]

    def views(self, tensors: Tensors) -> Tensors:
        """What such tensors hold for each parameter, (K, ...)."""
        found: dict[str, Tensor] = {}
        for block, tensor in zip(self.blocks, tensors, strict=True):
            found |= block.views(tensor)
        return [found[name] for name in self.names]

    @property
    def device(self) -> torch.device:
        """Where everything is."""
        return self.parameters[0].device

    def start(self, name: str) -> Number:
        """What a moment or counter begins with."""
        start = self.starts.get(name, 0.0)
        return self.numbers[start] if isinstance(start, str) else start

    def moment(self, name: str) -> Tensors:
        """The tensors of that name, made where there are none yet."""
        if name not in self.moments:
            self.moments[name] = self.new_moment(name)
        return self.moments[name]

    def new_moment(self, name: str) -> Tensors:
        """Tensors as they are before the first update."""
        tensors = [torch.zeros_like(each) for each in self.parameters]
        torch._foreach_add_(tensors, spread(self.start(name), tensors))
        return tensors

    def counter(self, name: str) -> Number:
        """The number of that name, as exact as torch keeps it."""
        if name not in self.counters:
            self.counters[name] = rounded(self.start(name))
        return self.counters[name]

    def count(self) -> Number:
        """The number of this update, from 1."""
        step = self.counters["step"] = self.counter("step") + 1
        return step

    def decayed(self) -> Tensors:
        """The gradients of what is minimized, with the weight decay, unless it is decoupled: then
        the parameters have lost their share.
        """
        grads = self.grads
        if self.switches.get("maximize"):
            grads = list(torch._foreach_neg(grads))
        decay = self.numbers.get("weight_decay", 0.0)
        if is_zero(decay):
            return grads
        if self.switches.get("decoupled_weight_decay"):
            scale_(self.parameters, 1 - self.numbers["lr"] * decay)
            return grads
        return plus(grads, self.parameters, decay)

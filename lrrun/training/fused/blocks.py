"""Parameters of all replicas side by side in one piece of memory: one operation reaches them all.

Shapes: K replicas, P numbers of each in a block.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

ALIGNMENT = 64
"""Bytes of a cache line; every parameter begins at a multiple of it within its row."""


class Block:
    """Parameters of one dtype: K rows of P numbers, and their gradients in the same layout.

    >>> block = Block({"weight": torch.ones(2, 3, 4), "bias": torch.zeros(2, 3)})
    >>> block.values.shape, block.views(block.values)["weight"].shape
    (torch.Size([2, 32]), torch.Size([2, 3, 4]))
    """

    def __init__(self, tensors_K: Mapping[str, Tensor]) -> None:
        """Copies the tensors, (K, ...) each, by name."""
        self._places: dict[str, tuple[slice, torch.Size]] = {}
        begin = 0
        for name, each in tensors_K.items():
            end = begin + each[0].numel()
            self._places[name] = slice(begin, end), each.shape
            step = ALIGNMENT // each.element_size()
            begin = -(-end // step) * step
        first = next(iter(tensors_K.values()))
        self.values = first.new_zeros(len(first), begin)
        self.grads = torch.zeros_like(self.values)
        for name, view in self.views(self.values).items():
            view.copy_(tensors_K[name])

    def views(self, block: Tensor) -> dict[str, Tensor]:
        """Each parameter's part of a tensor (K, P) in this layout: (K, ...)."""
        return {name: block[:, at].view(shape) for name, (at, shape) in self._places.items()}

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters' names."""
        return tuple(self._places)


def blocks_of(tensors_K: Mapping[str, Tensor], names: Iterable[str]) -> list[Block]:
    """Blocks of these parameters, one for each dtype among them."""
    kinds: dict[torch.dtype, dict[str, Tensor]] = {}
    for name in names:
        kinds.setdefault(tensors_K[name].dtype, {})[name] = tensors_K[name]
    return [Block(each) for each in kinds.values()]

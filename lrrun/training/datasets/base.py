"""What a loaded dataset is: two sources of batches, indexed where the data lies.

Shape suffixes: N rows, B rows of a batch, C channels (of images), H height, W width, T tokens of a
window, S bytes of a stream, K outputs; no suffix where the shape depends on the dataset.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from lrrun.config.base import DataFacts

Augment = Callable[[Tensor, torch.Generator], Tensor]
"""Changes a batch of training inputs at random, by nothing but the generator it is given."""


class Source(Protocol):
    """Rows that can be asked for by index, a batch at a time.

    x is float32, or int64 tokens; y is int64 (B,) for classification, float32 (B, K) for
    regression, int64 (B, T) for language.
    """

    def __len__(self) -> int:
        """How many rows."""
        ...

    def batch(self, indices_B: Tensor) -> tuple[Tensor, Tensor]:
        """The rows of these indices (int64, on any device), on the source's device."""
        ...

    def to(self, device: torch.device) -> Source:
        """The same rows on another device."""
        ...


@dataclass(frozen=True)
class Splits:
    """Training and validation data, what they are, and the augmentation of training batches."""

    train: Source
    val: Source
    facts: DataFacts
    augment: Augment | None = None

    def to(self, device: torch.device) -> Splits:
        """Both parts on another device."""
        return replace(self, train=self.train.to(device), val=self.val.to(device))


@dataclass(frozen=True, eq=False)
class Table:
    """Inputs and targets as two tensors of N rows, indexed on their device.

    >>> rows = Table(torch.arange(4.0)[:, None], torch.tensor([0, 1, 0, 1]))
    >>> rows.batch(torch.tensor([3, 0]))
    (tensor([[3.],
            [0.]]), tensor([1, 0]))
    """

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.y)

    def batch(self, indices_B: Tensor) -> tuple[Tensor, Tensor]:
        """Rows by index."""
        indices_B = indices_B.to(self.x.device)
        return self.x.index_select(0, indices_B), self.y.index_select(0, indices_B)

    def to(self, device: torch.device) -> Table:
        """The table on another device."""
        return Table(self.x.to(device), self.y.to(device))


@dataclass(frozen=True, eq=False)
class Images:
    """Images kept as bytes, a quarter of their float size; a batch is x = (pixel/255 - mean)/std.

    `pixels` is uint8 (N, C, H, W), `y` int64 (N,); `mean` and `std` are float32 (C,), in 0..1.
    """

    pixels: Tensor
    y: Tensor
    mean: Tensor
    std: Tensor

    def __len__(self) -> int:
        return len(self.y)

    def batch(self, indices_B: Tensor) -> tuple[Tensor, Tensor]:
        """Normalized float32 images (B, C, H, W), and their labels (B,)."""
        indices_B = indices_B.to(self.y.device)
        pixels_BCHW = self.pixels.index_select(0, indices_B)
        x_BCHW = (pixels_BCHW / 255 - self.mean[:, None, None]) / self.std[:, None, None]
        return x_BCHW, self.y.index_select(0, indices_B)

    def to(self, device: torch.device) -> Images:
        """The images on another device."""
        tensors = (self.pixels, self.y, self.mean, self.std)
        return Images(*(tensor.to(device) for tensor in tensors))


@dataclass(frozen=True, eq=False)
class Windows:
    """A stream of bytes cut into windows of `context` tokens, each with the token that follows.

    Row i has x = stream[iC : iC+C] and y = stream[iC+1 : iC+C+1], so inputs do not overlap and
    every byte but the first is a target once; a tail that fills no window is left out.
    `stream` is uint8 of shape (S,).

    >>> rows = Windows(torch.tensor(list(b"abcdefg"), dtype=torch.uint8), context=3)
    >>> x_BT, y_BT = rows.batch(torch.tensor([1]))
    >>> len(rows), bytes(x_BT[0].tolist()), bytes(y_BT[0].tolist())
    (2, b'def', b'efg')
    """

    stream: Tensor
    context: int

    def __len__(self) -> int:
        return (len(self.stream) - 1) // self.context

    def batch(self, indices_B: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (B, T) and the next tokens (B, T), int64."""
        device = self.stream.device
        starts_B1 = indices_B.to(device)[:, None] * self.context
        tokens = self.stream[starts_B1 + torch.arange(self.context + 1, device=device)].long()
        return tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()

    def to(self, device: torch.device) -> Windows:
        """The stream on another device."""
        return Windows(self.stream.to(device), self.context)


def as_input(x: Tensor) -> Tensor:
    """Inputs in the dtype that models take: int64 tokens stay, all else is float32."""
    return x if x.dtype == torch.int64 else x.float()


def as_target(y: Tensor) -> Tensor:
    """Targets in the dtype and shape that losses take: integers int64, floats float32 (B, K)."""
    if not y.is_floating_point():
        return y.long()
    return y.float()[:, None] if y.ndim == 1 else y.float()

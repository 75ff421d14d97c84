"""The three networks as one writes them by hand: the same parameters in the same order as lrrun's.

lrrun trains its own; everybody else trains these, so that a hand-written loop pays neither the
memory nor the imports of lrrun. They start from lrrun's initial weights. Shapes: B rows, C
channels, H height, W width, T tokens, D width, N heads, V vocabulary, K outputs.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def mlp(inputs: tuple[int, ...], outputs: int, hidden: tuple[int, ...]) -> nn.Module:
    """Linear and ReLU layers on the flattened row."""
    sizes = (math.prod(inputs), *hidden)
    layers: list[nn.Module] = [nn.Flatten()]
    for size_in, size_out in zip(sizes, hidden, strict=False):
        layers += [nn.Linear(size_in, size_out), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], outputs))


def cnn(inputs: tuple[int, ...], outputs: int, channels: tuple[int, ...]) -> nn.Module:
    """3x3 convolution, ReLU and 2x2 max-pooling for each of `channels`, then a linear layer."""
    channels_in, height, width = inputs
    layers: list[nn.Module] = []
    for channels_out in channels:
        layers += [nn.Conv2d(channels_in, channels_out, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        channels_in, height, width = channels_out, height // 2, width // 2
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels_in * height * width, outputs))


class Attention(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x_BTD: Tensor) -> Tensor:
        rows, tokens, width = x_BTD.shape
        q, k, v = (
            each.view(rows, tokens, self.heads, width // self.heads).transpose(1, 2)
            for each in self.qkv(x_BTD).split(width, dim=2)
        )
        y_BNTH = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        mixed: Tensor = self.out(y_BNTH.transpose(1, 2).reshape(rows, tokens, width))
        return mixed


class Block(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def forward(self, x_BTD: Tensor) -> Tensor:
        x_BTD = x_BTD + self.attention(self.norm1(x_BTD))
        x_BTD = x_BTD + self.down(F.gelu(self.up(self.norm2(x_BTD))))
        return x_BTD


class Gpt(nn.Module):
    """A decoder-only transformer whose output weights are its token embedding."""

    def __init__(self, vocabulary: int, context: int, layers: int, width: int, heads: int):
        super().__init__()
        self.token = nn.Embedding(vocabulary, width)
        self.position = nn.Embedding(context, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        positions_T = torch.arange(tokens_BT.shape[1], device=tokens_BT.device)
        x_BTD = self.token(tokens_BT) + self.position(positions_T)
        for block in self.blocks:
            x_BTD = block(x_BTD)
        return F.linear(self.norm(x_BTD), self.token.weight)

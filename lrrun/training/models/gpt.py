"""The small decoder-only transformer.

The architecture of GPT-2 (Radford et al., Language Models are Unsupervised Multitask Learners,
2019): learned positions, LayerNorm before each sublayer, GELU, output weights tied to the token
embedding. Shapes: B windows, T tokens, D width, N heads, H = D/N, V vocabulary.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lrrun.config.base import DataFacts
from lrrun.config.models import Gpt

INIT_STD = 0.02


class Attention(nn.Module):
    """Causal self-attention: softmax(q kᵀ / sqrt(H) over tokens up to one's own) v, N times."""

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """What each token gathers from itself and the tokens before it."""
        qkv_BTD = self.qkv(x_BTD).chunk(3, dim=-1)
        q_BNTH, k_BNTH, v_BNTH = (
            each_BTD.unflatten(-1, (self.heads, -1)).transpose(1, 2) for each_BTD in qkv_BTD
        )
        dropout = self.dropout if self.training else 0.0
        y_BNTH = F.scaled_dot_product_attention(
            q_BNTH, k_BNTH, v_BNTH, dropout_p=dropout, is_causal=True
        )
        y_BTD: Tensor = self.out(y_BNTH.transpose(1, 2).flatten(2))
        return y_BTD


class TransformerBlock(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)); the MLP is four times as wide."""

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads, dropout)
        self.norm2 = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """The residual stream after the block."""
        x_BTD = x_BTD + self.dropout(self.attention(self.norm1(x_BTD)))
        y_BTD: Tensor = self.down(F.gelu(self.up(self.norm2(x_BTD))))
        x_BTD = x_BTD + self.dropout(y_BTD)
        return x_BTD


class Transformer(nn.Module):
    """Token and position embeddings, blocks, a last norm, and the token embedding read backwards.

    Weights start from N(0, 0.02²), biases from 0; what writes into the residual stream (2 matrices
    a block) from N(0, (0.02/sqrt(2·layers))²), so that the stream's variance does not grow with
    depth (GPT-2, §2.3).
    """

    def __init__(
        self, vocabulary: int, context: int, layers: int, width: int, heads: int, dropout: float
    ):
        super().__init__()
        self.token = nn.Embedding(vocabulary, width)
        self.position = nn.Embedding(context, width)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(TransformerBlock(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        for name, parameter in self.named_parameters():
            if name.endswith(("out.weight", "down.weight")):
                nn.init.normal_(parameter, std=INIT_STD / math.sqrt(2 * layers))
            elif parameter.ndim == 2:
                nn.init.normal_(parameter, std=INIT_STD)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Logits (B, T, V) of the token after each token; T is at most the context."""
        positions_T = torch.arange(tokens_BT.shape[-1], device=tokens_BT.device)
        x_BTD = self.dropout(self.token(tokens_BT) + self.position(positions_T))
        for block in self.blocks:
            x_BTD = block(x_BTD)
        return F.linear(self.norm(x_BTD), self.token.weight)


def gpt(spec: Gpt, facts: DataFacts) -> Transformer:
    """The transformer for the dataset's vocabulary and context."""
    (context,) = facts.inputs
    return Transformer(facts.outputs, context, spec.layers, spec.width, spec.heads, spec.dropout)

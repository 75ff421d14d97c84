"""Models of the flattened sample: linear, and the multi-layer perceptron.

Shapes: B samples, F features (all of a sample's numbers), H hidden units, K outputs.
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from lrrun.config.base import DataFacts
from lrrun.config.models import Linear, Mlp


class Perceptron(nn.Module):
    """logits_BK = head(body(flatten(x))); with an empty body it is a linear model.

    Weights and biases start as torch's Linear starts them: uniform in ±1/sqrt(fan-in).
    """

    def __init__(self, features: int, hidden: tuple[int, ...], outputs: int, dropout: float):
        super().__init__()
        layers: list[nn.Module] = []
        sizes = (features, *hidden)
        for size_in, size_out in zip(sizes, hidden, strict=False):
            layers += [nn.Linear(size_in, size_out), nn.ReLU()]
            if dropout:
                layers.append(nn.Dropout(dropout))
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(sizes[-1], outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (or regressed values) of a batch of samples of any one shape."""
        x_BF = x.flatten(1)
        logits_BK: Tensor = self.head(self.body(x_BF))
        return logits_BK


def linear(spec: Linear, facts: DataFacts) -> Perceptron:
    """One matrix and a bias: F·K + K parameters."""
    return Perceptron(math.prod(facts.inputs), (), facts.outputs, dropout=0.0)


def mlp(spec: Mlp, facts: DataFacts) -> Perceptron:
    """Hidden layers with ReLU."""
    return Perceptron(math.prod(facts.inputs), spec.hidden, facts.outputs, spec.dropout)

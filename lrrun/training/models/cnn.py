"""The small convolutional network.

Shapes: B samples, C channels, H height, W width, F features, K outputs.
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from lrrun.config.base import DataFacts
from lrrun.config.models import Cnn


class ConvNet(nn.Module):
    """3x3 convolution, ReLU and 2x2 max-pooling for each of `channels`, then one linear layer.

    Without normalization layers, so that what the learning rate does stays in plain view. Weights
    are drawn from He's normal distribution for ReLU (He et al., Delving Deep into Rectifiers,
    2015, https://arxiv.org/abs/1502.01852), biases start at 0.
    """

    def __init__(
        self, image: tuple[int, ...], channels: tuple[int, ...], outputs: int, dropout: float
    ):
        super().__init__()
        channels_in, height, width = image
        layers: list[nn.Module] = []
        for channels_out in channels:
            layers += [
                nn.Conv2d(channels_in, channels_out, kernel_size=3, padding=1),
                nn.ReLU(),
                nn.MaxPool2d(2),
            ]
            channels_in, height, width = channels_out, height // 2, width // 2
        self.body = nn.Sequential(*layers)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(math.prod((channels_in, height, width)), outputs)
        for layer in self.body:
            if isinstance(layer, nn.Conv2d) and layer.bias is not None:
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Logits (or regressed values) of a batch of images."""
        x_BF = self.body(x_BCHW).flatten(1)
        logits_BK: Tensor = self.head(self.dropout(x_BF))
        return logits_BK


def cnn(spec: Cnn, facts: DataFacts) -> ConvNet:
    """The network for images of the dataset's size."""
    return ConvNet(facts.inputs, spec.channels, facts.outputs, spec.dropout)

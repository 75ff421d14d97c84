"""The residual network for small images.

He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition (2015), §4.2,
https://arxiv.org/abs/1512.03385. Shapes: B samples, C channels, H height, W width, K outputs.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from lrrun.config.base import DataFacts
from lrrun.config.models import ResNet


class Block(nn.Module):
    """y = relu(x' + norm(conv(relu(norm(conv(x)))))), where x' is the shortcut.

    The shortcut has no parameters (option A of the paper): where the block halves the image, every
    second pixel is taken, and the channels that are added are zeros.
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int):
        super().__init__()
        self.stride = stride
        self.new_channels = channels_out - channels_in
        self.conv1 = _conv3x3(channels_in, channels_out, stride)
        self.norm1 = nn.BatchNorm2d(channels_out)
        self.conv2 = _conv3x3(channels_out, channels_out, 1)
        self.norm2 = nn.BatchNorm2d(channels_out)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """The block's output; with stride 2 it has half the height and width."""
        y_BCHW = F.relu(self.norm1(self.conv1(x_BCHW)))
        y_BCHW = self.norm2(self.conv2(y_BCHW))
        if self.new_channels or self.stride > 1:
            x_BCHW = x_BCHW[:, :, :: self.stride, :: self.stride]
            x_BCHW = F.pad(x_BCHW, (0, 0, 0, 0, 0, self.new_channels))
        return F.relu(x_BCHW + y_BCHW)


class ResidualNetwork(nn.Module):
    """A convolution, three stages of n blocks each (depth 6n+2), mean over pixels, linear layer.

    Convolutions start from He's normal distribution, as in the paper; norms at scale 1 and shift 0.
    """

    def __init__(self, channels: int, depth: int, width: int, outputs: int):
        super().__init__()
        self.conv = _conv3x3(channels, width, 1)
        self.norm = nn.BatchNorm2d(width)
        blocks = []
        channels_in = width
        for stage in range(3):
            for index in range((depth - 2) // 6):
                stride = 2 if stage > 0 and index == 0 else 1
                blocks.append(Block(channels_in, width * 2**stage, stride))
                channels_in = width * 2**stage
        self.body = nn.Sequential(*blocks)
        self.head = nn.Linear(channels_in, outputs)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Logits (or regressed values) of a batch of images."""
        x_BCHW = self.body(F.relu(self.norm(self.conv(x_BCHW))))
        x_BC = x_BCHW.mean((2, 3))
        logits_BK: Tensor = self.head(x_BC)
        return logits_BK


def _conv3x3(channels_in: int, channels_out: int, stride: int) -> nn.Conv2d:
    """A 3x3 convolution that keeps the size at stride 1; the norm behind it has the bias."""
    return nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1, bias=False)


def resnet(spec: ResNet, facts: DataFacts) -> ResidualNetwork:
    """The network for the dataset's images; depth 20 on CIFAR-10 has 269,722 parameters."""
    return ResidualNetwork(facts.inputs[0], spec.depth, spec.width, facts.outputs)

"""Random changes of training images, for a whole batch at once, on its device.

Shape suffixes: B batch, C channels, H height, W width.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

PADDING = 4


def crop_and_flip(x_BCHW: Tensor, generator: torch.Generator) -> Tensor:
    """Each image shifted by -4..4 pixels in both directions, and mirrored with probability 1/2.

    What is shifted in is 0, the channel's mean where images are normalized. All chance is drawn
    from `generator`, image by image of the batch: three uniform draws each. Source: K. He, X.
    Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image Recognition", 2015, section 4.2,
    https://arxiv.org/abs/1512.03385.
    """
    batch, _, height, width = x_BCHW.shape
    drawn_B3 = torch.rand((batch, 3), generator=generator, device=generator.device)
    drawn_B3 = drawn_B3.to(x_BCHW.device)
    top_B, left_B = (drawn_B3[:, :2] * (2 * PADDING + 1)).long().unbind(1)
    flip_B = drawn_B3[:, 2] < 0.5

    rows_BH = top_B[:, None] + torch.arange(height, device=x_BCHW.device)
    columns_W = torch.arange(width, device=x_BCHW.device)
    columns_BW = left_B[:, None] + torch.where(flip_B[:, None], columns_W.flip(0), columns_W)
    padded = F.pad(x_BCHW, (PADDING,) * 4)
    images_B11 = torch.arange(batch, device=x_BCHW.device)[:, None, None]
    cropped_BHWC = padded[images_B11, :, rows_BH[:, :, None], columns_BW[:, None, :]]
    return cropped_BHWC.permute(0, 3, 1, 2).contiguous()

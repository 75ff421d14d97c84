"""Convolution and pooling of stacked images, by rules of batching of our own.

torch's rules for vmap copy between the layouts of the two at every layer. Here the replicas'
channels lie side by side, (B, K·C, H, W), channels last on the CPU, where pooling is then an order
of magnitude faster; nothing is copied between layers. Shapes: K replicas, B samples, C channels,
O output channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode


class _Convolution(torch.autograd.Function):
    """torch.conv2d, whose replicas are groups of one convolution."""

    @staticmethod
    def forward(*args: Any) -> Tensor:
        return torch.conv2d(*args)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None: ...

    @staticmethod
    def vmap(info: Any, in_dims: Any, x: Tensor, weight: Tensor, bias: Any, *rest: Any) -> Any:
        stride, padding, dilation, groups = rest
        k = info.batch_size
        if in_dims[0] is not None or groups > 1:
            x, groups = _side_by_side(x, in_dims[0], k), k * groups
        weight_OCHW = _first(weight, in_dims[1], k).flatten(0, 1)
        bias_O = None if bias is None else _first(bias, in_dims[2], k).flatten()
        out = torch.conv2d(_laid_out(x), weight_OCHW, bias_O, stride, padding, dilation, groups)
        return _apart(out, k), 1


class _Pooling(torch.autograd.Function):
    """torch.max_pool2d of all replicas' channels."""

    @staticmethod
    def forward(*args: Any) -> Tensor:
        return torch.max_pool2d(*args)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None: ...

    @staticmethod
    def vmap(info: Any, in_dims: Any, x: Tensor, *rest: Any) -> Any:
        k = info.batch_size
        out = torch.max_pool2d(_laid_out(_side_by_side(x, in_dims[0], k)), *rest)
        return _apart(out, k), 1


def _first(tensor: Tensor, dim: int | None, k: int) -> Tensor:
    return tensor.expand(k, *tensor.shape) if dim is None else tensor.movedim(dim, 0)


def _side_by_side(x: Tensor, dim: int | None, k: int) -> Tensor:
    """(B, K·C, H, W) of images that have the replicas at `dim`, or share them."""
    return _first(x, dim, k).movedim(0, 1).flatten(1, 2)


def _apart(out: Tensor, k: int) -> Tensor:
    """(B, K, C, H, W)."""
    return out.view(out.shape[0], k, -1, *out.shape[2:])


def _laid_out(x_BCHW: Tensor) -> Tensor:
    """Channels last on the CPU, also by its strides where C is 1: the output's follow from them."""
    _, c, h, w = x_BCHW.shape
    if x_BCHW.device.type != "cpu" or x_BCHW.stride() == (h * w * c, 1, w * c, c):
        return x_BCHW
    return x_BCHW.clone(memory_format=torch.channels_last)


class StackedImages(TorchFunctionMode):
    """While it is active, batched 2-D convolutions and max-poolings follow the rules above."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is torch.conv2d and not kwargs and len(args) == 7:
            if args[0].ndim == 4 and _is_batched(args[1]):
                return _Convolution.apply(*args)  # type: ignore[no-untyped-call]
        elif func is F.max_pool2d:
            pooled = _pooled(*args, **(kwargs or {}))
            if pooled is not None:
                return pooled
        return func(*args, **(kwargs or {}))


def _pooled(
    x: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    if return_indices or x.ndim != 4 or not _is_batched(x):
        return None
    stride = kernel_size if stride is None else stride
    return _Pooling.apply(  # type: ignore[no-untyped-call]
        x, kernel_size, stride, padding, dilation, ceil_mode
    )


def _is_batched(tensor: Tensor) -> bool:
    found: bool = torch._C._functorch.is_batchedtensor(tensor)
    return found

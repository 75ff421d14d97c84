"""Arithmetic with a number that all replicas share (float) or that each has its own of (K).

Lists of tensors are stacked: each is (K, ...), and a number applies to all its tensors.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Number = float | Tensor
"""A float, or one value a replica: float64, (K,)."""

Tensors = list[Tensor]


def along(values_K: Tensor, stacked: Tensor) -> Tensor:
    """One value a replica, in a shape that broadcasts over its tensor (K, ...)."""
    return values_K.view(-1, *(1,) * (stacked.ndim - 1))


def spread(number: Number, like: Sequence[Tensor]) -> float | Tensors:
    """The number as torch._foreach_* takes it: a float, or a tensor for each of `like`, in its
    dtype, that broadcasts over it.
    """
    if not isinstance(number, Tensor):
        return number
    shaped: dict[tuple[torch.dtype, int], Tensor] = {}
    for each in like:
        if (each.dtype, each.ndim) not in shaped:
            shaped[each.dtype, each.ndim] = along(number.to(each.dtype), each)
    return [shaped[each.dtype, each.ndim] for each in like]


def is_zero(number: Number) -> bool:
    """Is it 0 for all replicas, known without waiting for the device?"""
    return not isinstance(number, Tensor) and number == 0


def choose(condition: bool | Tensor, yes: Number, no: Number) -> Number:
    """`yes` where the condition holds, else `no`, replica by replica.

    >>> choose(True, 1.0, 2.0), choose(torch.tensor([True, False]), 1.0, 2.0)
    (1.0, tensor([1., 2.], dtype=torch.float64))
    """
    if isinstance(condition, Tensor):
        kind = torch.float64, condition.device
        return torch.where(condition, as_tensor(yes, *kind), as_tensor(no, *kind))
    return yes if condition else no


def as_tensor(number: Number, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The number on a device that is not waited for: nothing is copied to it."""
    if isinstance(number, Tensor):
        return number.to(dtype)
    return torch.full((), number, dtype=dtype, device=device)


def of(number: Number, k: int) -> float:
    """Replica k's number."""
    return float(number[k]) if isinstance(number, Tensor) else number


def with_one(number: Number, k: int, value: float, count: int, device: torch.device) -> Number:
    """The number of `count` replicas with replica k's changed; a float where all are equal then."""
    if not isinstance(number, Tensor):
        if number == value:
            return number
        number = torch.full((count,), number, dtype=torch.float64, device=device)
    number = number.clone()
    number[k] = value
    return value if bool((number == value).all()) else number


def scalar_dtype() -> torch.dtype:
    """Of the scalars that torch's optimizers keep in their state."""
    double = torch.get_default_dtype() == torch.float64
    return torch.float64 if double else torch.float32


def rounded(number: Number) -> Number:
    """As it is in such a scalar."""
    if isinstance(number, Tensor):
        return number.to(scalar_dtype()).double()
    return float(torch.tensor(number, dtype=scalar_dtype()))


def plus(xs: Tensors, ys: Tensors, number: Number) -> Tensors:
    """Return x + number · y."""
    factor = spread(number, ys)
    if isinstance(factor, list):
        return list(torch._foreach_addcmul(xs, ys, factor))
    return list(torch._foreach_add(xs, ys, alpha=factor))


def add_(xs: Tensors, ys: Tensors, number: Number) -> None:
    """Add: x += number · y."""
    factor = spread(number, ys)
    if isinstance(factor, list):
        torch._foreach_addcmul_(xs, ys, factor)
    else:
        torch._foreach_add_(xs, ys, alpha=factor)


def scale_(xs: Tensors, number: Number) -> None:
    """Multiply: x *= number."""
    torch._foreach_mul_(xs, spread(number, xs))


def fade_and_add_(xs: Tensors, fading: Number, ys: Tensors, number: Number) -> None:
    """Replace: x = fading · x + number · y, in one pass over x where the number is 1.0 for all.

    The bits do not depend on whether `fading` is a float or a tensor of it.
    """
    if isinstance(number, Tensor) or number != 1.0:
        scale_(xs, fading)
        add_(xs, ys, number)
        return
    factors = spread(fading, xs)
    for k, (x, y) in enumerate(zip(xs, ys, strict=True)):
        factor = factors[k] if isinstance(factors, list) else factors
        torch.addcmul(y, x, as_tensor(factor, x.dtype, x.device), out=x)


def quotients(xs: Tensors, number: Number) -> Tensors:
    """Return x / number."""
    return list(torch._foreach_div(xs, spread(number, xs)))


def shift_(xs: Tensors, number: Number) -> None:
    """Add: x += number."""
    torch._foreach_add_(xs, spread(number, xs))


def lerp_(xs: Tensors, ys: Tensors, number: Number) -> None:
    """Go a part of the way: x += number · (y - x)."""
    torch._foreach_lerp_(xs, ys, spread(number, xs))


def add_squares_(xs: Tensors, ys: Tensors, number: Number) -> None:
    """Add: x += number · y²."""
    factor = spread(number, ys)
    if isinstance(factor, list):
        torch._foreach_addcmul_(xs, torch._foreach_mul(ys, factor), ys)
    else:
        torch._foreach_addcmul_(xs, ys, ys, factor)


def add_quotients_(xs: Tensors, ys: Tensors, zs: Tensors, number: Number) -> None:
    """Add: x += number · y / z, divided first, which stays closer to torch than a reciprocal."""
    factor = spread(number, ys)
    if isinstance(factor, list):
        torch._foreach_addcmul_(xs, torch._foreach_div(ys, zs), factor)
    else:
        torch._foreach_addcdiv_(xs, ys, zs, factor)

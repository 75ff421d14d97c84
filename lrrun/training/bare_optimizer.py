"""Torch's optimizers without what torch wraps around their methods for its compiler and profiler.

A wrapped method loads torch's compiler at its first call, which takes as long as loading torch and
which an eager run has no other use for; and the wrappers of `step` take as long as the update of a
small model. Somebody's own optimizer is left as it is, with whatever wraps its methods.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import MethodType
from typing import Any, ParamSpec, TypeVar

import torch
from torch.optim import Optimizer

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def make(maker: Callable[..., Any], groups: list[dict[str, Any]], **arguments: Any) -> Any:
    """What `maker(groups, **arguments)` makes; an optimizer of torch's without its compiler."""
    if not (isinstance(maker, type) and is_of_torch(maker)):
        return maker(groups, **arguments)
    optimizer: Any = object.__new__(maker)
    own = vars(optimizer)
    own["add_param_group"] = bare(optimizer.add_param_group)  # as its __init__ will call it
    optimizer.__init__(groups, **arguments)
    del own["add_param_group"]
    return optimizer


def bare(method: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """A method bound to an optimizer, unwrapped where it is torch's own.

    >>> weight = torch.zeros(2, requires_grad=True)
    >>> bare(make(torch.optim.SGD, [{"params": [weight]}], lr=0.1).state_dict)()["state"]
    {}
    """
    if not isinstance(method, MethodType) or not is_of_torch(method.__func__):
        return method
    return MethodType(inspect.unwrap(method.__func__), method.__self__)


def bare_step(optimizer: Optimizer) -> Callable[[], object]:
    """`optimizer.step` without wrappers.

    It is `optimizer.step` as it is where hooks are registered, gradients flow through the update
    (`differentiable`), or the optimizer is none of torch's.
    """
    hooks = optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks
    wrapped = getattr(type(optimizer).step, "hooked", False)
    if hooks or not wrapped or optimizer.defaults.get("differentiable"):
        return optimizer.step
    step = bare(optimizer.step)
    if step == optimizer.step:
        return step

    without_gradients = torch.no_grad()  # all that is left of the wrappers

    def update() -> object:
        with without_gradients:
            return step()

    return update


def is_of_torch(thing: Callable[..., object]) -> bool:
    """Is it one of torch's own optimizers, or a method of one?"""
    return f"{thing.__module__}.".startswith("torch.optim.")

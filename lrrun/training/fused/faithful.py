"""Does a stack compute what its modules do? Asked of somebody's own model before it is fused.

A forward pass is traced once, and what Python decides in it is decided there for good: a counter
and a branch on it, a draw from `random`, a tensor that is no buffer. A module alone would decide
anew at every call.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lrrun.training.chance import chance, restore_chance
from lrrun.training.fused.refusal import NotFusable
from lrrun.training.fused.stack import FusedModel
from lrrun.training.trainee import AUTOCAST, Trainee

TF32_EPS = 2.0**-10
"""The relative precision of convolutions on CUDA, and of matrix products where that is allowed."""

Batch = tuple[Tensor, Tensor]
Plain = (bool, int, float, str)
"""What a module can count with and branch on; kept as an attribute."""


def check_faithful(stack: FusedModel, trainee: Trainee, x: Tensor, y: Tensor) -> None:
    """Raise NotFusable, naming what differs, where the stack's last replica is unlike its module.

    The trainee is that replica's, and has its weights. Loss, gradient, buffers and evaluation are
    compared for (x, y), as `FusedModel.gradients` takes them, and once more with each row's target
    moved on to the next row. Where the module draws from torch's generators, its dropout masks are
    its own, and only the evaluation can be compared. Tensors and random numbers are left as they
    are; what the module keeps in Python moves on by eight calls.
    """
    model, before = trainee.model, chance(stack.device)
    was_training = model.training
    rows = 0 if stack.shared_data else 1
    try:
        for training, check in ((True, _check_training), (False, _check_evaluation)):
            model.train(training)
            _check_python(stack, trainee, _own(stack, (x, y))[0])
            for targets in (y, y.roll(1, rows)):
                check(stack, trainee, (x, targets))
    finally:
        model.train(was_training)
        restore_chance(before, stack.device)


def _check_python(stack: FusedModel, trainee: Trainee, x: Tensor) -> None:
    """Refuse plain attributes that a forward pass changes, and numbers drawn outside of torch.

    What a first pass keeps for later ones is no such state.
    """
    before = chance(stack.device)
    with torch.no_grad(), trainee.autocast(), _buffers_kept(trainee.model):
        trainee.model(x)
        attributes = _attributes(trainee.model)
        trainee.model(x)
    changed = attributes.items() - _attributes(trainee.model).items()
    if changed:
        raise NotFusable(f"the model's {min(changed)[0]} changes from one forward pass to the next")
    now = chance(stack.device)
    if any(_moved(before[name], now[name]) for name in ("python", "numpy")):
        raise NotFusable("the forward pass draws from Python's or numpy's random numbers")


def _check_training(stack: FusedModel, trainee: Trainee, batch: Batch) -> None:
    model, k, before = trainee.model, stack.replicas - 1, chance(stack.device)
    x, y = _own(stack, batch)
    with _buffers_kept(model):
        with torch.enable_grad(), trainee.autocast():
            loss = trainee.task.loss(model(x), y)
        draws = _moved(before, chance(stack.device))
        own = torch.autograd.grad(loss, [each for each in model.parameters() if each.requires_grad])
        own_buffers = [each.clone() for each in model.buffers()]
    losses_K = stack.gradients([batch], len(x))
    buffers = [each[k].clone() for each in stack.stacked_buffers.values()]
    stack.undo_forward(torch.zeros(stack.replicas, dtype=torch.bool, device=stack.device))
    if not draws:
        _compare(stack, "training loss", [losses_K[k]], [loss.detach()])
        _compare(stack, "gradient", [each[k] for each in stack.grads], own)
        _compare(stack, "buffer update", buffers, own_buffers)


def _check_evaluation(stack: FusedModel, trainee: Trainee, batch: Batch) -> None:
    """The first of a task's sums is its loss; others count, and rounding may turn a tie."""
    x, y = _own(stack, batch)
    with torch.no_grad(), trainee.autocast(), _buffers_kept(trainee.model):
        own = trainee.task.evaluate_batch(trainee.model(x), y)
    _compare(stack, "evaluation", [stack.evaluate(x, y)[-1][0]], [own[0]])


@contextlib.contextmanager
def _buffers_kept(model: nn.Module) -> Iterator[None]:
    """Put the buffers back that forward passes move on."""
    before = [each.clone() for each in model.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for each, old in zip(model.buffers(), before, strict=True):
                each.copy_(old)


def _own(stack: FusedModel, batch: Batch) -> Batch:
    """The last replica's batch."""
    x, y = batch
    return (x, y) if stack.shared_data else (x[-1], y[-1])


def _attributes(model: nn.Module) -> dict[str, Any]:
    """What its modules keep in plain Python values, by path."""
    return {
        f"{path}.{name}" if path else name: value
        for path, module in model.named_modules()
        for name, value in vars(module).items()
        if isinstance(value, Plain)
    }


def _moved(before: Any, now: Any) -> bool:
    """Do two states differ?"""
    if isinstance(before, Mapping):
        return any(_moved(value, now[key]) for key, value in before.items())
    if isinstance(before, Tensor):
        return not torch.equal(before, now)
    return bool(before != now)


def _compare(
    stack: FusedModel, what: str, found: Sequence[Tensor], expected: Sequence[Tensor]
) -> None:
    """By the 2-norm of all together, to half the digits; nothing is told by what is not finite."""
    pairs = [
        (one, other)
        for one, other in zip(found, expected, strict=True)
        if other.is_floating_point()
    ]
    size = math.hypot(*(float(other.norm()) for _, other in pairs))
    distance = math.hypot(*(float((one - other).norm()) for one, other in pairs))
    if math.isfinite(size) and not distance <= _tolerance(stack) * size:
        raise NotFusable(
            f"the model's {what} changes with something other than weights, buffers and batch: "
            "state that Python keeps in the forward pass"
        )


def _tolerance(stack: FusedModel) -> float:
    """Relative: the square root of the precision that a forward pass is computed in."""
    weights = next(iter(stack.stacked_parameters.values())).dtype
    eps = torch.finfo(AUTOCAST.get(stack.precision, weights)).eps
    return math.sqrt(max(eps, TF32_EPS) if stack.device.type == "cuda" else eps)

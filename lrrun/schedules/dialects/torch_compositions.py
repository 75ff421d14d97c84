"""torch.optim.lr_scheduler: SequentialLR, ChainedScheduler and ReduceLROnPlateau.

Source: https://docs.pytorch.org/docs/stable/optim.html, version 2.13.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal, NoReturn

import numpy as np

from lrrun.errors import ConfigError, Problem
from lrrun.schedules.base import Array, BadArgument, Curve, Driven, Span
from lrrun.schedules.catalogue import Section, register
from lrrun.schedules.dialects.nesting import built, inner
from lrrun.schedules.dialects.recursion import Recursion
from lrrun.schedules.dialects.torch import check_last_epoch, lambda_of, of_group
from lrrun.schedules.dialects.torch_stepping import (
    STEPPING,
    Group,
    Stepping,
)
from lrrun.schedules.feedback import Improvement, Reactive, TorchRule, cut
from lrrun.schedules.placement import PartSpec


class Composition:
    """Several schedulers on one param group; torch makes no LR of its own for them."""

    def __init__(self, parts: Sequence[Stepping | Composition]) -> None:
        self.parts = parts

    def step(self) -> None:
        """One step of the clock."""
        for part in self.parts:
            part.step()

    def begin(self) -> None:
        """What an outer SequentialLR does to its first part: a step, the repeated one included."""
        self.step()

    def undo(self) -> None:
        """Take back one step of every scheduler's clock, and nothing else."""
        for part in self.parts:
            part.undo()

    def restart(self) -> NoReturn:
        """Not possible in torch."""
        raise ValueError(
            "torch cannot start a composition at a milestone of a SequentialLR, only as its first "
            "part; a list of parts has no such limit"
        )


class Sequential(Composition):
    """One part after another; each is restarted at its milestone."""

    def __init__(
        self, group: Group, parts: Sequence[Stepping | Composition], milestones: Sequence[int]
    ) -> None:
        super().__init__(parts)
        self.milestones = milestones
        self.epoch = 0
        group["lr"] = group["initial_lr"]
        self.undo()
        parts[bisect_right(milestones, 0)].begin()

    def step(self) -> None:
        """One step of the part whose turn it is."""
        self.epoch += 1
        index = bisect_right(self.milestones, self.epoch)
        if index > 0 and self.milestones[index - 1] == self.epoch:
            self.parts[index].restart()
        else:
            self.parts[index].step()


Node = Stepping | Composition


@register("torch.SequentialLR", holds=False, clock="epoch")
def sequential_lr(
    span: Span, *, schedulers: list[Section], milestones: list[int], last_epoch: int = -1
) -> Curve:
    """One of torch's schedulers after another, each restarted at its milestone.

    Part k runs from milestones[k - 1] on, from its own base LR and with a clock from 0. What torch
    computes is kept: a MultiplicativeLR or SWALR goes on from the LR it finds, and a composition
    can only come first. Our own list of parts joins without a jump, and takes a plateau anywhere.
    """

    def assemble(group: Group) -> Node:
        return _sequential(
            span, group, schedulers=schedulers, milestones=milestones, last_epoch=last_epoch
        )

    return _curve(span, assemble)


@register("torch.ChainedScheduler", holds=False, clock="epoch")
def chained_scheduler(span: Span, *, schedulers: list[Section]) -> Curve:
    """Several of torch's schedulers at once, each working on the LR that the one before left.

    It is the product of their factors only where every part is a factor: CosineAnnealingLR with an
    eta_min computes its next LR from the one it finds, so that the order counts and the LR can even
    become negative. torch's recursion is kept, step by step.
    """
    return _curve(span, lambda group: _chained(span, group, schedulers=schedulers))


@register("torch.ReduceLROnPlateau", holds=False, clock="epoch")
def reduce_lr_on_plateau(
    span: Span,
    *,
    mode: Literal["min", "max"] = "min",
    factor: float = 0.1,
    patience: int = 10,
    threshold: float = 1e-4,
    threshold_mode: Literal["rel", "abs"] = "rel",
    cooldown: int = 0,
    min_lr: float | list[float] = 0.0,
    eps: float = 1e-8,
    metric: str = "val_loss",
) -> Curve:
    """The LR times `factor` when a metric has stopped improving.

    After more than `patience` evaluations in a row that are not better than the best so far, by
    `threshold` of it (`rel`) or as such (`abs`), lr → max(lr · factor, min_lr), unless that lowers
    it by eps or less; `cooldown` evaluations after a cut are not counted. `metric`, our own
    addition, names what is watched. Trap: `rel` on a negative metric counts equal values as better.
    """
    if factor >= 1:
        raise BadArgument("factor", f"expected less than 1, as torch does, got {factor:g}")
    rule = TorchRule(Improvement.by(mode, threshold, threshold_mode), patience, cooldown)
    return Reactive(span.start, metric, rule, cut(factor, of_group(span, "min_lr", min_lr), eps))


def _curve(span: Span, assemble: Callable[[Group], Node]) -> Curve:
    """The curve of a composition: put together now, stepped as far as it is asked for."""
    group: Group = {"lr": span.start}
    try:
        root = assemble(group)
    except ArithmeticError as error:
        raise BadArgument("schedulers", f"torch fails to join these: {error}") from None
    momenta: list[float] = []

    def next_lr(step: int, lr: float) -> float:
        if step > 0:
            root.step()
        momenta.append(group.get("momentum", np.nan))
        return group["lr"]

    lr = Recursion(next_lr)
    if "momentum" not in group:
        return lr

    def momentum(steps: Array) -> Array:
        lr(steps)
        return np.array([momenta[int(k)] for k in steps.flat]).reshape(steps.shape)

    return Driven(lr, momentum)


def _sequential(
    span: Span, group: Group, *, schedulers: list[Section], milestones: list[int], last_epoch: int
) -> Sequential:
    check_last_epoch(last_epoch)
    if len(milestones) != len(schedulers) - 1:
        text = f"expected one milestone between each two of the {len(schedulers)} schedulers"
        raise BadArgument("milestones", f"{text}, got {len(milestones)}")
    return Sequential(group, _nodes(span, group, "SequentialLR", schedulers), milestones)


def _chained(span: Span, group: Group, *, schedulers: list[Section]) -> Composition:
    return Composition(_nodes(span, group, "ChainedScheduler", schedulers))


_COMPOSITIONS: dict[str, Callable[..., Composition]] = {
    "torch.SequentialLR": _sequential,
    "torch.ChainedScheduler": _chained,
}


def _nodes(span: Span, group: Group, owner: str, sections: list[Section]) -> list[Node]:
    """The schedulers, made one after another on one group, as a script makes them."""
    return [_node(span, group, owner, inner(section, "torch")) for section in sections]


def _node(span: Span, group: Group, owner: str, part: PartSpec) -> Node:
    if part.entry.name == "torch.ReduceLROnPlateau":
        text = (
            f"{owner} refuses ReduceLROnPlateau, as torch does; a list of parts takes it anywhere: "
            "[{name: LinearLR, for: 5 epochs}, {name: ReduceLROnPlateau}]"
        )
        raise ConfigError([Problem(part.path, text)])
    defaults = {each.name: each.default for each in part.entry.parameters.values()}
    arguments = {**defaults, **part.arguments}
    if part.entry.name in _COMPOSITIONS:
        try:
            return _COMPOSITIONS[part.entry.name](span, group, **arguments)
        except BadArgument as error:
            raise ConfigError([Problem((*part.path, error.name), str(error))]) from None
    curve = built(part, replace(span, written=group["lr"]))
    for name, value in arguments.items():
        if name in _FUNCTIONS and value is not None:
            arguments[name] = lambda_of(span, name, value, _FUNCTIONS[name])
        elif name != "milestones":
            arguments[name] = of_group(span, name, value)
    return STEPPING[part.entry.name.removeprefix("torch.")](group, arguments, curve)


_FUNCTIONS = {"lr_lambda": "epoch", "scale_fn": "x"}
"""Arguments that are functions, and of what."""

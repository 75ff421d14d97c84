"""Where base LRs are said: once, by the optimizer, or by a schedule that brings its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from lrrun.config.optimizers import OptimizerSpec
from lrrun.errors import KeyPath, Problem
from lrrun.schedules.placement import PartSpec
from lrrun.schedules.spec import brought_lr

Parts = tuple[PartSpec, ...]


def lr_problems(
    optimizer: OptimizerSpec, parts: Parts, group_parts: Mapping[int, Parts]
) -> Iterator[Problem]:
    """What is wrong with the base LRs of a run whose schedule is `parts`.

    `group_parts` has the schedules that groups have of their own, by index.
    """
    brought = brought_lr(parts)
    if brought is None:
        if optimizer.lr is None:
            yield Problem(("optimizer", "lr"), "is missing; write lr: 0.01")
    else:
        path, value = brought
        if optimizer.lr is not None and optimizer.lr != value:
            used = f"the schedule's own {path[-1]}" if value is None else f"{path[-1]}: {value:g}"
            text = f"{optimizer.lr:g} disagrees with {used}; leave lr out, or make them equal"
            yield Problem(("optimizer", "lr"), text)
        for k, own in group_parts.items():
            if value is None and brought_lr(own) is None:
                text = f"there is no base LR to start from: the run's {path[-1]} holds several LRs"
                yield Problem(("optimizer", "groups", k, "scheduler"), text)
    yield from _without_effect(optimizer, parts, group_parts)


def _without_effect(
    optimizer: OptimizerSpec, parts: Parts, group_parts: Mapping[int, Parts]
) -> Iterator[Problem]:
    """Multipliers of a base LR that a schedule with an LR of its own would never see."""
    multiplied: list[tuple[KeyPath, Parts]] = [
        (("groups", k, "lr_factor"), group_parts.get(k, parts))
        for k, group in enumerate(optimizer.groups)
        if group.lr_factor != 1
    ]
    for key in ("layer_decay", "mup"):
        if getattr(optimizer, key) is not None:
            multiplied += [((key,), each) for each in (parts, *group_parts.values())]
    for path, followed in multiplied:
        brought = brought_lr(followed)
        if brought is not None:
            text = f"the schedule brings its own LR ({brought[0][-1]}), which no factor changes"
            yield Problem(("optimizer", *path), text)

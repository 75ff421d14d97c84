"""What a sweep tries, batch by batch: a pure function of the axes, the method and the results.

Nothing but results decides the next batch, so a sweep that was killed plans again what it had
planned.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from lrrun.search.axes import Axis
from lrrun.search.grid import drawn, grid, identity, repeated, seeds_of

Rungs = Literal["rescaled", "cooldown"]


@dataclass(frozen=True)
class Method:
    """How points are chosen, and how many trials a point is given.

    `points` are drawn by random search and TPE, from `seed`; None for the grid. With `halving`,
    points are first trained for a share of the run, `least` or more, and the best 1/`eta` go on to
    runs `eta` times as long; `rungs` says what finishes the schedule of a short run.
    """

    name: Literal["grid", "random", "tpe"] = "grid"
    points: int | None = None
    seed: int = 0
    halving: Literal["halving", "hyperband"] | None = None
    eta: int = 3
    least: float = 1 / 9
    rungs: Rungs = "rescaled"


@dataclass(frozen=True)
class PlannedTrial:
    """One run to make: its number, from 1, and the value of every axis.

    With halving, `rung` counts from 1 in its `bracket`, and the run is `scale` of the whole.
    """

    number: int
    values: Mapping[str, Any]
    scale: float = 1.0
    rung: int | None = None
    bracket: int | None = None


@dataclass(frozen=True)
class Design:
    """The axes and the method of a sweep, and by what it was extended since it began.

    An extension is axes whose values are added, or a number of points.
    """

    axes: tuple[Axis, ...]
    method: Method = field(default_factory=Method)
    extensions: tuple[tuple[Axis, ...] | int, ...] = ()

    def axes_after(self, extensions: int) -> tuple[Axis, ...]:
        """The axes with the values that the first so many extensions added."""
        axes = self.axes
        for added in self.extensions[:extensions]:
            if not isinstance(added, int):
                axes = tuple(_widened(axis, added) for axis in axes)
        return axes

    @property
    def chosen(self) -> bool:
        """Are later batches chosen after the results of earlier ones?"""
        return self.method.halving is not None or self.method.name == "tpe"

    @property
    def widest(self) -> tuple[Axis, ...]:
        """The axes with everything that was added."""
        return self.axes_after(len(self.extensions))

    def points_after(self, extensions: int) -> int:
        """How many points random search and TPE take in all."""
        added = [each for each in self.extensions[:extensions] if isinstance(each, int)]
        return (self.method.points or 0) + sum(added)

    def total(self) -> int:
        """How many trials the sweep has when it is done."""
        from lrrun.search import halving

        if self.method.halving:
            return halving.total(self)
        if self.method.name == "grid":
            return len(_points(self, len(self.extensions)))
        return self.points_after(len(self.extensions)) * max(1, len(seeds_of(self.axes)))

    def batch(
        self, index: int, planned: Sequence[PlannedTrial], losses: Mapping[int, float]
    ) -> list[PlannedTrial]:
        """The trials of batch `index`, from 0; none when the sweep is done.

        `planned` holds those of all earlier batches, `losses` what each of them came to (the last
        validation loss; infinite where a trial diverged or failed).
        """
        from lrrun.search import halving, tpe

        if self.method.halving:
            return halving.batch(self, index, planned, losses)
        if self.method.name == "tpe":
            return tpe.batch(self, index, planned, losses)
        if index > len(self.extensions):
            return []
        seen = {identity(each.values) for each in planned}
        new = [each for each in _points(self, index) if identity(each) not in seen]
        return numbered(new, len(planned))


def numbered(points: Sequence[Mapping[str, Any]], before: int) -> list[PlannedTrial]:
    """Trials of whole runs, numbered on."""
    return [PlannedTrial(before + k, point) for k, point in enumerate(points, start=1)]


def _points(design: Design, extensions: int) -> list[dict[str, Any]]:
    axes = design.axes_after(extensions)
    if design.method.name == "grid":
        return grid(axes)
    points = drawn(axes, design.points_after(extensions), design.method.seed)
    return repeated(points, axes)


def _widened(axis: Axis, added: Sequence[Axis]) -> Axis:
    """The axis with the values that an axis of the same key adds."""
    for other in added:
        if other.key == axis.key:
            known = {identity({"": value}) for value in axis.values()}
            new = [each for each in other.values() if identity({"": each}) not in known]
            return Axis(axis.key, axis.path, (*axis.items, *new))
    return axis


def mean_loss(losses: Sequence[float]) -> float:
    """What a point came to over its seeds: infinite as soon as one of them diverged or failed."""
    return math.fsum(losses) / len(losses) if all(map(math.isfinite, losses)) else math.inf

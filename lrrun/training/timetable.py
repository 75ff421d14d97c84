"""When a run must say or save something: a function of the step, known before it begins."""

from __future__ import annotations

from lrrun.batches import Batches
from lrrun.config.clock import Clock
from lrrun.config.train import Train
from lrrun.training import moments
from lrrun.training.moments import Steps

SEGMENT = 256
"""Steps between two looks at the losses on a device that computes asynchronously."""


class Timetable:
    """The evaluations, epochs' ends and pauses of a run; all answers are in updates done."""

    def __init__(self, settings: Train, clock: Clock, pauses: Steps = moments.NEVER) -> None:
        self.plan: Batches = clock.batches
        self.total_steps = clock.units.total_steps
        self.pauses = pauses
        self.evaluations = (
            None if settings.evaluate is None else moments.every(settings.evaluate, clock.units)
        )

    def next_stop(self, step: int) -> int:
        """The step before which a loop at `step` must come up for air."""
        stops = [self.plan.epoch_end(step), step + SEGMENT, self.total_steps]
        for further in (self.evaluations, self.pauses):
            following = None if further is None else moments.after(further, step)
            stops += [] if following is None else [following]
        return min(stops)

    def row_is_due(self, step: int) -> bool:
        """Does a row of epochs.csv belong to this step?"""
        return step > 0 and (self.plan.epoch_end(step - 1) == step or self.evaluation_is_due(step))

    def evaluation_is_due(self, step: int) -> bool:
        """Is the model evaluated at this step?"""
        if step == self.total_steps:
            return True
        if self.evaluations is None:
            return self.plan.epoch_end(step - 1) == step
        return moments.among(self.evaluations, step)

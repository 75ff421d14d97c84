"""How long a sweep may take: the pace of its first trial, tried for a moment in memory."""

from __future__ import annotations

import time

from lrrun.config.experiment import Experiment
from lrrun.errors import LrrunError

PROBE_SECONDS = 0.5


def seconds_per_step(experiment: Experiment) -> float | None:
    """Wall-clock seconds of an update, evaluations included; None where it cannot be trained.

    A throw-away run of PROBE_SECONDS, or of one step where that takes longer; nothing is written,
    and every real run is prepared anew. Other programs on the machine slow it down as they slow
    down the sweep.
    """
    from lrrun.training.checkpoints import Due
    from lrrun.training.journey import loop_of
    from lrrun.training.preparation import prepare

    try:
        prepared = prepare(experiment)
    except LrrunError:
        return None
    begun = time.perf_counter()
    due = Due(experiment.checkpoint, prepared.clock.units)
    loop = loop_of(prepared, lambda: _is_over(begun, prepared.trainee.step), due)
    for _ in loop.records():
        pass
    return (time.perf_counter() - begun) / max(1, prepared.trainee.step)


def _is_over(begun: float, steps: int) -> bool:
    return steps > 0 and time.perf_counter() - begun > PROBE_SECONDS

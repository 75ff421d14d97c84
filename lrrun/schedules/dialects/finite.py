"""Values that are no learning rates: nan and inf, which other libraries go on training with."""

from __future__ import annotations

import numpy as np

from lrrun.schedules.base import Array, Curve, ScheduleEnded


def finite(curve: Curve, library: str) -> Curve:
    """The same curve; asking for a step at which its formula gives nan or inf raises ScheduleEnded.

    >>> finite(lambda s: 1 / s, "keras")(np.array([1.0, 0.0]))
    Traceback (most recent call last):
    ...
    lrrun.schedules.base.ScheduleEnded: no LR at step 0 of its clock: the formula of keras gives inf
    """

    def guarded(steps: Array) -> Array:
        if steps.dtype == object:  # symbols, of which export writes a formula
            return curve(steps)
        with np.errstate(all="ignore"):
            lrs = np.asarray(curve(steps), dtype=np.float64)
        wrong = ~np.isfinite(lrs)
        if wrong.any():
            step, lr = steps[wrong].flat[0], lrs[wrong].flat[0]
            text = f"no LR at step {step:g} of its clock: the formula of {library} gives {lr:g}"
            raise ScheduleEnded(text)
        return lrs

    return guarded

"""What other libraries' range tests would suggest on the same losses, by their rules.

fastai 2 (`Learner.lr_find`): the loss smoothed with β = 0.98 and corrected for its start; the test
ends where that exceeds 4 times its lowest; the first tenth and the last 5 values are left out.
Lightning (`LearningRateFinder`): β = 0.98 with a correction that is one step late; the same end;
the first 10 values and the last are left out; the LR where the gradient of the loss is most
negative, by np.gradient over the index, and since 2.5.3 over the LR itself.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lrrun.analysis.lr_rules import smooth, valley

Floats = NDArray[np.float64]

BETA = 0.98
LOST = 4.0


def suggestions(lr: Floats, loss: Floats) -> dict[str, float]:
    """The LR of each rule; nan where it finds none."""
    own_lr, own = _ended(lr, smooth(loss, BETA))
    begin = len(own) // 10
    own_lr, own = own_lr[begin:-5], own[begin:-5]
    late = (1 - BETA ** np.arange(1, len(loss) + 1)) / (1 - BETA ** np.arange(2, len(loss) + 2))
    lightning_lr, lightning = _ended(lr, smooth(loss, BETA) * late)
    lightning_lr, lightning = lightning_lr[10:-1], lightning[10:-1]
    if min(len(own), len(lightning)) < 3:
        return dict.fromkeys(RULES, np.nan)
    found = (
        own_lr[valley(own)],
        own_lr[np.argmin(own)] / 10,
        own_lr[np.argmin(np.diff(own) / np.diff(np.log(own_lr)))],
        lightning_lr[np.argmin(np.gradient(lightning))],
        lightning_lr[np.argmin(np.gradient(lightning, lightning_lr))],
    )
    return dict(zip(RULES, map(float, found), strict=True))


RULES = (
    "fastai valley",
    "fastai minimum/10",
    "fastai steep",
    "Lightning < 2.5.3",
    "Lightning 2.5.3+",
)


def _ended(lr: Floats, smoothed: Floats) -> tuple[Floats, Floats]:
    """The test as it would have ended: at the first value above LOST times the lowest so far."""
    lost = smoothed > LOST * np.minimum.accumulate(smoothed)
    end = int(np.argmax(lost)) + 1 if lost.any() else len(smoothed)
    return lr[:end], smoothed[:end]

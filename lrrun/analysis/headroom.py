"""What the headroom gauge of a run says: was its LR far from what the loss would have borne?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LOW = 0.05
"""An LR below this share of the critical one is low; ten times below the best it is about 0.01."""

USUAL = 0.1
"""The best LRs of MLPs on digits had medians from here to 0.2, with SGD and AdamW alike."""


def explain_headroom(headroom: Floats) -> Iterator[str]:
    """One sentence on lr / critical_lr, one value a measurement, each standing for as many steps.

    >>> print(*explain_headroom(np.array([0.01, 0.02, 0.01, 0.2, 0.01])), sep="")
    the LR was below 5% of the critical LR in 80% of 5 measurements (median 1%): it could probably \
be about 10 times higher
    """
    known = headroom[~np.isnan(headroom)]
    if not known.size:
        return
    median, share = float(np.median(known)), float(np.mean(known < LOW))
    measured = f"{known.size} measurement{'s' if known.size > 1 else ''}"
    if median < LOW:
        times = f"about {_rounded(USUAL / median):g} times" if median > 0 else "many times"
        yield (
            f"the LR was below {LOW:.0%} of the critical LR in {share:.0%} of {measured} "
            f"(median {100 * median:.2g}%): it could probably be {times} higher"
        )
    elif float(np.mean(known > 1)) > 0.5:
        yield (
            f"{np.mean(known > 1):.0%} of {measured} found the LR past the critical one: most "
            "updates raised the loss of their own rows; try a lower LR"
        )
    else:
        low, high = (float(end) for end in np.quantile(known, (0.1, 0.9), method="nearest"))
        yield (
            f"LR / critical LR had the median {median:.2g} in {measured} (80% of them between "
            f"{low:.2g} and {high:.2g}): neither timid nor past the edge"
        )


def _rounded(factor: float) -> float:
    return float(f"{factor:.1g}")

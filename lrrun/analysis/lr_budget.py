"""What a search for a learning rate may cost: 11 runs, or a minute if that is more."""

from __future__ import annotations

RUNS = 11.0
"""Runs of the config that a search may cost, its range test included."""

SHORT_RANGE, SHORT_TRIALS, SHORT_STEPS = 100, 30, 1_100
"""A search of very short runs needs more of them: a range test, and so many runs or updates."""

SHORT_SECONDS = 60.0
"""And may have them where they take no longer than this."""


def most_steps(total_steps: int, runs: float | None = None, seconds_per_step: float = 0.0) -> float:
    """Updates that a search over runs of `total_steps` updates may make.

    N = r·T for a budget of r runs of T updates. Where nobody gave one, r = RUNS, and N is at least
    min(SHORT_STEPS, SHORT_RANGE + SHORT_TRIALS·T, SHORT_SECONDS / seconds_per_step): from T = 100
    on that is no more than the runs.

    >>> most_steps(1_000), most_steps(50), most_steps(10), most_steps(10, runs=12.0)
    (11000.0, 1100.0, 400.0, 120.0)
    >>> most_steps(50, seconds_per_step=0.2)
    550.0
    """
    if runs is not None:
        return runs * total_steps
    short = float(min(SHORT_STEPS, SHORT_RANGE + SHORT_TRIALS * total_steps))
    if seconds_per_step > 0:
        short = min(short, SHORT_SECONDS / seconds_per_step)
    return max(RUNS * total_steps, short)

"""Python's search for reference cycles, put off where there are none to find."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Let a command read thousands of runs without looking for cycles among them.

    Nothing that is read holds one, yet the collector would go through all of it again and again:
    a third of the time that 10,000 runs take. What nothing refers to any more is freed as ever.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def load_training() -> None:
    """Load torch and what trains with it; their modules are then never looked through again.

    They stay until the process ends, yet the collector would go through their objects many times:
    a fifth of the time that loading takes, and a tenth of a second at some update of the run.
    """
    if "torch" in sys.modules:
        return
    with uncollected():
        import lrrun.training.runner  # noqa: F401

        gc.freeze()

"""Python's search for reference cycles, put off where a command fills the memory and ends."""

from __future__ import annotations

import contextlib
import gc
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

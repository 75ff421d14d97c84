"""What writing its log takes of a run: everything that RunWriter does while the run goes on.

    python benchmarks/speed/log_cost.py FOLDER

Wall-clock time inside the writer's methods, as a share of the whole time from the run's first step
to its Outcome; waiting for the disk is told apart.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from protocol import tell

from lrrun.config.reading import load_experiment
from lrrun.records import Outcome
from lrrun.runlog.log import Log
from lrrun.runlog.writer import RunWriter
from lrrun.training.runner import run


class Stopwatch:
    """Adds up the time inside the functions that it wraps."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **named: Any) -> Any:
            begun = time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                self.seconds += time.perf_counter() - begun

        return timed


def main() -> None:
    rows, sync = Stopwatch(), Stopwatch()
    for name in ("write", "write_steps"):
        setattr(RunWriter, name, rows.wrap(getattr(RunWriter, name)))
    Log.sync = sync.wrap(Log.sync)  # type: ignore[method-assign]
    experiment = load_experiment(Path(sys.argv[1]) / "digits.yaml", allow_code=True)
    steps = 0
    with tempfile.TemporaryDirectory() as folder:
        events = run(experiment, Path(folder))
        next(events)
        begun = time.perf_counter()
        for event in events:
            if isinstance(event, Outcome):
                steps = event.step
        seconds = time.perf_counter() - begun
    tell(
        step_us=seconds / steps * 1e6,
        rows_us=rows.seconds / steps * 1e6,
        rows_share=rows.seconds / seconds,
        sync_us=sync.seconds / steps * 1e6,
        sync_share=sync.seconds / seconds,
    )


if __name__ == "__main__":
    main()

"""How contenders are measured: processes of their own, interleaved, one JSON line each.

Nothing here loads torch: the process that compares stays small and out of the way.
"""

from __future__ import annotations

import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

Row = dict[str, Any]


@dataclass
class Marks:
    """Moments of a child's life: wall-clock and CPU seconds at each call of `mark`."""

    moments: list[tuple[float, float]] = field(default_factory=list)

    def mark(self) -> None:
        """Now."""
        self.moments.append((time.perf_counter(), time.process_time()))

    def per_step(self, first: int, last: int, steps: int) -> dict[str, float]:
        """Microseconds a step between two marks with `steps` steps in between."""
        (wall_a, cpu_a), (wall_b, cpu_b) = self.moments[first], self.moments[last]
        return {
            "wall_us": (wall_b - wall_a) / steps * 1e6,
            "cpu_us": (cpu_b - cpu_a) / steps * 1e6,
        }

    def quietest(self, first: int, last: int, steps: int) -> float:
        """Wall-clock microseconds a step in the stretches between marks that other work left alone.

        The lowest tenth of them; each stretch is `steps` steps long.
        """
        walls = [wall for wall, _ in self.moments[first:last]]
        taken = sorted(b - a for a, b in itertools.pairwise(walls))
        return taken[len(taken) // 10] / steps * 1e6


def peak_mb() -> float:
    """The process's largest resident size, in MB of 10^6 bytes.

    From VmHWM, which begins anew with exec; getrusage's ru_maxrss also counts the parent's size at
    the moment of the fork.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024 / 1e6
    raise OSError("/proc/self/status has no VmHWM: this benchmark needs Linux")


def tell(**facts: Any) -> None:
    """A child's one line of results, on a line of its own and the last of its output."""
    print("\n" + json.dumps(facts), flush=True)


class ChildFailedError(RuntimeError):
    """A child ended with another code than 0; the message is the end of what it said."""


def call(script: str, *arguments: str, threads: int = 1, **variables: str) -> Row:
    """What a script of this folder told, run by this interpreter. Raises ChildFailedError."""
    environment = {**os.environ, **variables}
    environment |= {name: str(threads) for name in THREAD_VARIABLES}
    done = subprocess.run(
        [sys.executable, str(HERE / script), *arguments],
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise ChildFailedError(
            f"{script} {' '.join(arguments)}: exit code {done.returncode}\n{done.stderr[-2000:]}"
        )
    told: Row = json.loads(done.stdout.strip().splitlines()[-1])
    return told


def interleave(
    names: Sequence[str], rounds: int, measure: Callable[[str], Row]
) -> dict[str, list[Row]]:
    """Measure every contender once a round: A B C, B C A, C A B …; rows by name, in round order.

    The machine's mood changes over minutes, so contenders are compared within a round. One that
    fails in the first round is named and left out.
    """
    rows: dict[str, list[Row]] = {name: [] for name in names}
    for turn in range(rounds):
        order = [*rows]
        shift = turn % len(order)
        for name in order[shift:] + order[:shift]:
            try:
                rows[name].append(measure(name))
            except ChildFailedError as error:
                if turn:
                    raise
                print(f"left out: {name}: {error}", file=sys.stderr)
                del rows[name]
    return rows


def median(rows: Sequence[Row], key: str) -> float:
    """The median over the rounds."""
    return statistics.median(row[key] for row in rows)


def ratio(rows: Sequence[Row], to: Sequence[Row], key: str) -> float:
    """The median over the rounds of the ratio within each round."""
    return statistics.median(a[key] / b[key] for a, b in zip(rows, to, strict=True))


def markdown(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    rows = [header, ["---"] * len(header), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def machine(threads: int | None = None) -> str:
    """The day, the kind of machine and the versions, in a line."""
    from importlib.metadata import version

    chip = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        chip = names[0].partition(":")[2].strip() if names else chip
    told = [
        date.today().isoformat(),
        f"{os.cpu_count()} cores ({chip})",
        f"Python {platform.python_version()}",
        f"torch {version('torch')}",
    ]
    told += [f"threads: {threads}"] if threads is not None else []
    return ", ".join(told)


def publish(title: str, text: str, folder: Path | None) -> None:
    """Print a table, and keep it as `<title>.md` where a folder is given."""
    print(f"\n## {title}\n\n{text}\n", flush=True)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        name = title.lower().replace(" ", "-").replace(":", "")
        (folder / f"{name}.md").write_text(f"## {title}\n\n{text}\n")


def versions(names: Mapping[str, str]) -> str:
    """The installed versions of these distributions, those that are there."""
    from importlib.metadata import PackageNotFoundError, version

    found = []
    for name in names:
        try:
            found.append(f"{names[name]} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)

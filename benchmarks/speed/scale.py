"""Reading at scale, and what writing costs: time and peak memory of commands over synthetic runs.

    python benchmarks/speed/scale.py [--runs 10000] [--rows 10000000] [--rounds 3] [--out FOLDER]

The folders are made by lrrun's own writer in a temporary folder: RUNS runs of 30 epochs and 690
steps, and a run of ROWS steps beside one of a tenth. Commands run one by one, as a person starts
them, after one round that brings the files into the page cache.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from protocol import THREAD_VARIABLES, Row, call, interleave, machine, markdown, median, publish


def command(arguments: list[str], runs: Path) -> Row:
    """Seconds, CPU seconds and peak memory of an `lrrun` command."""
    environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, "1")}
    whole = [sys.executable, "-m", "lrrun", *arguments, "--runs-dir", str(runs)]
    begun = time.perf_counter()
    child = subprocess.Popen(whole, env=environment, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"lrrun {' '.join(arguments)[:200]}: exit code {child.returncode}")
    return {
        "wall": time.perf_counter() - begun,
        "cpu": used.ru_utime + used.ru_stime,
        "peak_mb": used.ru_maxrss * 1024 / 1e6,
    }


def measured(commands: dict[str, list[str]], runs: Path, rounds: int) -> list[tuple[str, ...]]:
    """A line a command."""
    rows = interleave([*commands], rounds + 1, lambda name: command(commands[name], runs))
    return [
        (
            name,
            f"{median(mine[1:], 'wall'):.2f}",
            f"{median(mine[1:], 'cpu'):.2f}",
            f"{median(mine[1:], 'peak_mb'):.0f}",
        )
        for name, mine in rows.items()
    ]


def many(count: int, rounds: int) -> list[tuple[str, ...]]:
    """`list` and `compare` over many runs."""
    with tempfile.TemporaryDirectory() as made:
        runs = Path(made) / "runs"
        call("scale_runs.py", "many", str(count), str(runs))
        names = sorted(each.name for each in runs.iterdir())
        commands = {
            f"list, {count} runs": ["list"],
            f"list --json, {count} runs": ["list", "--json"],
            f"compare, {count} runs": ["compare", *names],
            f"compare --json, {count} runs": ["compare", "--json", *names],
        }
        return measured(commands, runs, rounds)


def long(rows: int, rounds: int) -> list[tuple[str, ...]]:
    """`show`, `compare` and its picture, of a run with a long steps.csv."""
    with tempfile.TemporaryDirectory() as made:
        runs = Path(made) / "runs"
        call("scale_runs.py", "long", str(rows), str(runs))
        two = ["compare", "long-1", "shorter-1"]
        commands = {
            f"show, {rows} steps": ["show", "long-1"],
            f"show --json, {rows} steps": ["show", "long-1", "--json"],
            f"compare, {rows} steps and a tenth": two,
            f"compare --png, {rows} steps and a tenth": [*two, "--png", str(Path(made) / "a.png")],
        }
        return measured(commands, runs, rounds)


def writing(rounds: int) -> tuple[list[tuple[str, ...]], str]:
    """What writing the log takes of a run's time, on the digits workload of steps.py."""
    with tempfile.TemporaryDirectory() as folder:
        call("workloads.py", "digits", folder)
        rows = [call("log_cost.py", folder) for _ in range(rounds)]
    lines = [
        (what, f"{median(rows, f'{key}_us'):.1f}", f"{median(rows, f'{key}_share'):.2%}")
        for what, key in (("rows of the tables", "rows"), ("bringing them to the disk", "sync"))
    ]
    return lines, f"a step takes {median(rows, 'step_us'):.0f} µs"


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--runs", type=int, default=10_000)
    asked.add_argument("--rows", type=int, default=10_000_000)
    asked.add_argument("--rounds", type=int, default=3)
    asked.add_argument("--out", type=Path, help="keep the tables in this folder")
    given = asked.parse_args()
    facts = f"{machine(1)}; medians of {given.rounds} rounds"
    lines, told = writing(given.rounds)
    text = markdown(("writing the log", "µs a step", "share of the run's time"), lines)
    publish("Log writing", f"{facts}; {told}.\n\n{text}", given.out)
    lines = many(given.runs, given.rounds) + long(given.rows, given.rounds)
    text = markdown(("command", "wall s", "CPU s", "peak MB"), lines)
    publish("Scale", f"{facts}.\n\n{text}", given.out)


if __name__ == "__main__":
    main()

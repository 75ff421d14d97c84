"""Seconds from command to first step, against a bare script; and what the reading commands cost.

    python benchmarks/speed/startup.py [--rounds 9] [--out FOLDER]

`lrrun train` runs configs/digits.yaml, evaluating after every step: its first row in epochs.csv
says that the first step and its validation are over. The bare script does the same and prints a
line. Both are then ended. Commands and scripts run interleaved, one thread each.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from protocol import HERE, THREAD_VARIABLES, Row, interleave, machine, markdown, median, publish

CONFIG = HERE.parents[1] / "configs" / "digits.yaml"
DIGITS = Path("datasets/data/digits.csv.gz")
POLL = 0.001
TIMEOUT = 120.0

BARE, TRAIN = "bare script", "lrrun train"
COMMANDS = {
    "python -c pass": None,
    "lrrun --help": ["--help"],
    "lrrun list": ["list"],
    "lrrun compare": ["compare", "digits-cosine-1", "digits-cosine-2"],
    "lrrun check": ["check", str(CONFIG)],
    "lrrun schedule": ["schedule", str(CONFIG)],
}
FASTEST = "python -c pass"


def environment() -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, **dict.fromkeys(THREAD_VARIABLES, "1")}


def until(command: list[str], begun_to_train: Callable[[], bool], output: Path) -> float:
    """Seconds from the start of `command` until it has begun to train; then it is killed."""
    with output.open("w", encoding="utf-8") as said:
        begun = time.perf_counter()
        child = subprocess.Popen(command, env=environment(), stdout=said, stderr=said)
        try:
            while not begun_to_train():
                if child.poll() is not None or time.perf_counter() - begun > TIMEOUT:
                    raise SystemExit(f"{command}: no first step\n{output.read_text()[-2000:]}")
                time.sleep(POLL)
            return time.perf_counter() - begun
        finally:
            child.send_signal(signal.SIGKILL)
            child.wait()


def first_step(name: str) -> Row:
    """Seconds until the first step is over."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        output = folder / "output"
        if name == BARE:
            command = [sys.executable, str(HERE / "bare.py"), str(digits_table())]
            return {"seconds": until(command, lambda: "\n" in output.read_text(), output)}
        options = ["train.evaluate=1 steps", "train.device=cpu", "--runs-dir", str(folder)]
        command = [sys.executable, "-m", "lrrun", "train", str(CONFIG), *options]
        rows = folder / "digits-cosine-1" / "epochs.csv"

        def has_row() -> bool:
            return rows.exists() and rows.read_text().count("\n") >= 2

        return {"seconds": until(command, has_row, output)}


def digits_table() -> Path:
    """The file that lrrun reads as well, out of scikit-learn's folder."""
    found = find_spec("sklearn")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("digits comes with scikit-learn, which is not installed")
    return Path(found.submodule_search_locations[0]) / DIGITS


def cpu(name: str, runs: Path) -> Row:
    """CPU and wall-clock seconds of a command, start and end of the interpreter included."""
    arguments = COMMANDS[name]
    command = [sys.executable, "-c", "pass"]
    if arguments is not None:
        command = [sys.executable, "-m", "lrrun", *arguments]
        command += ["--runs-dir", str(runs)] if arguments[0] in ("list", "compare") else []
    begun = time.perf_counter()
    child = subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{command} ended with exit code {child.returncode}")
    return {
        "cpu": used.ru_utime + used.ru_stime,
        "wall": time.perf_counter() - begun,
        "peak_mb": used.ru_maxrss * 1024 / 1e6,
    }


def two_runs(runs: Path) -> None:
    """Two finished runs for the reading commands."""
    for lr in ("0.05", "0.1"):
        options = [f"optimizer.lr={lr}", "--runs-dir", str(runs), "--quiet"]
        command = [sys.executable, "-m", "lrrun", "train", str(CONFIG), *options]
        subprocess.run(command, env=environment(), check=True)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--rounds", type=int, default=9)
    asked.add_argument("--out", type=Path, help="keep the tables in this folder")
    given = asked.parse_args()
    facts = f"{machine(1)}; medians of {given.rounds} rounds"
    starts = interleave([BARE, TRAIN], given.rounds, first_step)
    over = [b["seconds"] - a["seconds"] for a, b in zip(starts[BARE], starts[TRAIN], strict=True)]
    lines = [(name, f"{median(rows, 'seconds'):.2f}") for name, rows in starts.items()]
    lines.append(
        ("difference within a round", f"{median([{'s': each} for each in over], 's'):+.2f}")
    )
    text = markdown(("from command to first step", "seconds"), lines)
    publish("Startup", f"{facts}.\n\n{text}", given.out)
    with tempfile.TemporaryDirectory() as folder:
        two_runs(Path(folder))
        rows = interleave([*COMMANDS], given.rounds, lambda name: cpu(name, Path(folder)))
    lines = [
        (
            name,
            f"{median(mine, 'cpu'):.3f}",
            f"{median(mine, 'wall'):.3f}",
            f"{median(mine, 'peak_mb'):.0f}",
        )
        for name, mine in rows.items()
    ]
    text = markdown(("command", "CPU s", "wall s", "peak MB"), lines)
    publish("Commands", f"{facts}.\n\n{text}", given.out)
    if given.out is not None:
        (given.out / "startup.json").write_text(json.dumps({"starts": starts, "commands": rows}))


if __name__ == "__main__":
    main()

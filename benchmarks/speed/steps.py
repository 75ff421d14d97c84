"""Time a step and peak memory: lrrun, two loops written by hand, and other people's trainers.

    python benchmarks/speed/steps.py [--quick] [--rounds 5] [--only digits] [--out FOLDER]

Every contender trains in a process of its own, interleaved, with as many threads, on the same data
from the same weights; the first epochs are left out of the time. `pip install -e '.[peers]'` brings
the other trainers; those that are missing are named and left out.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from protocol import Row, call, interleave, machine, markdown, median, publish, ratio, versions
from workloads import WORKLOADS

HAND, LEAN = "hand-written loop", "leanest eager loop"
OURS = ("lrrun", "lrrun, grad_norm")
COMPILED = "lrrun, compile"
PEERS = ("Lightning", "HF Trainer", "Keras on torch")
PACKAGES = {"lightning": "Lightning", "transformers": "transformers", "keras": "Keras"}

LOSS_TOLERANCE = 0.25
"""Two trainings of the same thing in another order of the data end within this share of each
other's loss, or 0.05; what is further off trains something else."""


def check_same_work(rows: dict[str, list[Row]]) -> None:
    """Refuse a table whose contenders did not do the same; raises SystemExit."""
    reference = rows[HAND][0]
    for name, measured in rows.items():
        for row in measured:
            allowed = max(LOSS_TOLERANCE * reference["val_loss"], 0.05)
            off = abs(row["val_loss"] - reference["val_loss"]) > allowed
            if off or row["steps"] != reference["steps"]:
                raise SystemExit(f"{name} did other work than {HAND}: {row}, not {reference}")


def table(rows: dict[str, list[Row]]) -> str:
    """Medians, and medians of the ratios within each round."""
    header = (
        "contender",
        "µs a step",
        "/ hand-written",
        "/ leanest",
        "quietest epochs / hand-written",
        "/ leanest",
        "CPU time / hand-written",
        "/ leanest",
        "with its end / hand-written",
        "peak MB",
        "MB over hand-written",
        "val_loss",
    )
    hand, lean = rows[HAND], rows[LEAN]
    lines = []
    for name, mine in rows.items():
        whole = [{"whole_us": row["wall_us"]} for row in hand]
        lines.append(
            (
                name,
                f"{median(mine, 'wall_us'):.0f}",
                f"{ratio(mine, hand, 'wall_us'):.2f}",
                f"{ratio(mine, lean, 'wall_us'):.2f}",
                f"{ratio(mine, hand, 'quiet_us'):.2f}",
                f"{ratio(mine, lean, 'quiet_us'):.2f}",
                f"{ratio(mine, hand, 'cpu_us'):.2f}",
                f"{ratio(mine, lean, 'cpu_us'):.2f}",
                f"{ratio(mine, whole, 'whole_us'):.2f}",
                f"{median(mine, 'peak_mb'):.0f}",
                f"{median(mine, 'peak_mb') - median(hand, 'peak_mb'):+.0f}",
                f"{median(mine, 'val_loss'):.3f}",
            )
        )
    return markdown(header, lines)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--quick", action="store_true", help="one round, without compile")
    asked.add_argument("--rounds", type=int, default=5)
    asked.add_argument("--threads", type=int, default=1, help="of every contender")
    asked.add_argument("--only", choices=[*WORKLOADS], nargs="+", default=[*WORKLOADS])
    asked.add_argument("--no-peers", action="store_true", help="leave out other trainers")
    asked.add_argument("--no-compile", action="store_true", help="leave out the compiled runs")
    asked.add_argument("--out", type=Path, help="keep the tables in this folder")
    given = asked.parse_args()
    rounds = 1 if given.quick else given.rounds
    names = [HAND, LEAN, *OURS]
    names += [] if given.no_compile or given.quick else [COMPILED]
    names += [] if given.no_peers else PEERS
    with tempfile.TemporaryDirectory() as folder:
        for name in given.only:
            call("workloads.py", name, folder)

            def measure(contender: str, name: str = name) -> Row:
                return call("contenders.py", contender, name, folder, threads=given.threads)

            rows = interleave(names, rounds, measure)
            check_same_work(rows)
            workload = WORKLOADS[name]
            facts = f"{machine(given.threads)}, {versions(PACKAGES)}; {rounds} rounds of "
            facts += f"{rows[HAND][0]['steps']} steps, the first {workload.warmup} of "
            facts += f"{workload.epochs} epochs left out of the time"
            publish(f"Steps: {name}", f"{facts}.\n\n{table(rows)}", given.out)


if __name__ == "__main__":
    main()

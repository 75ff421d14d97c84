"""Many learning rates trained as one, against as many leanest eager runs one after the other.

    python benchmarks/speed/fused.py [--rounds 5] [--threads 2] [--epochs N] [--out FOLDER]

Both train every LR to the end with validation at every epoch's end. lrrun's time is all that
`train_many` takes: reading the data, building, tracing, training, and a whole run folder for every
LR; the other side's begins with its data in memory and writes nothing. Processes and rounds are as
in steps.py; each side has trained a short round before its clock starts.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from protocol import Row, call, interleave, machine, markdown, median, publish, ratio
from workloads import SWEPT

CASES = (("mlp-128-128", 16), ("mlp-32-32", 16), ("mlp-32-32", 64), ("small-cnn", 16))
LEAN, FUSED, ALONE = "leanest eager loop", "lrrun, fused", "lrrun, one by one"

LOSS_TOLERANCE = 0.15
"""The mean final loss over the LRs may differ by this share: the data come in another order."""


def check_same_work(case: str, rows: dict[str, list[Row]]) -> None:
    """Refuse a table whose contenders did not train the same; raises SystemExit."""
    reference = rows[LEAN][0]["val_loss"]
    for name, measured in rows.items():
        for row in measured:
            if abs(row["val_loss"] - reference) > LOSS_TOLERANCE * reference:
                raise SystemExit(f"{case}: {name} ends at {row['val_loss']}, not {reference}")


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--quick", action="store_true", help="one round")
    asked.add_argument("--rounds", type=int, default=5)
    asked.add_argument("--threads", type=int, default=2, help="of every contender")
    asked.add_argument("--alone", action="store_true", help="also lrrun's own runs one by one")
    asked.add_argument("--epochs", type=int, help="of every run, instead of the workload's own")
    asked.add_argument("--only", type=int, nargs="+", help="cases by number, from 0")
    asked.add_argument("--out", type=Path, help="keep the table in this folder")
    given = asked.parse_args()
    rounds = 1 if given.quick else given.rounds
    names = [LEAN, FUSED] + ([ALONE] if given.alone else [])
    lines = []
    cases = [CASES[k] for k in given.only] if given.only else CASES
    with tempfile.TemporaryDirectory() as folder:
        for workload, count in cases:
            call("workloads.py", workload, folder)
            epochs = given.epochs or SWEPT[workload].epochs
            sweep = (workload, folder, str(count), str(epochs))

            def measure(contender: str, sweep: tuple[str, ...] = sweep) -> Row:
                arguments = (contender, *sweep)
                return call("fused_contenders.py", *arguments, threads=given.threads)

            rows = interleave(names, rounds, measure)
            check_same_work(workload, rows)
            for name, mine in rows.items():
                lines.append(
                    (
                        f"{count} LRs of {workload}, {epochs} epochs",
                        name,
                        f"{median(mine, 'whole_s'):.2f}",
                        f"{ratio(mine, rows[LEAN], 'whole_s'):.3f}",
                        f"{ratio(mine, rows[LEAN], 'cpu_s'):.3f}",
                        f"{median(mine, 'training_s'):.2f}",
                        f"{median(mine, 'peak_mb'):.0f}",
                        f"{median(mine, 'val_loss'):.4f}",
                    )
                )
    header = (
        "sweep",
        "contender",
        "seconds",
        "/ one by one",
        "CPU time / one by one",
        "seconds of training",
        "peak MB",
        "mean val_loss",
    )
    text = f"{machine(given.threads)}; {rounds} rounds.\n\n{markdown(header, lines)}"
    publish("Fused", text, given.out)


if __name__ == "__main__":
    main()

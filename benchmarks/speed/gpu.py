"""On one GPU: the captured solo step, large models against hand-written loops, a fused sweep.

    python benchmarks/speed/gpu.py [--quick] [--rounds 3] [--dry] [--out FOLDER]

Without CUDA it says so and ends. The hand-written loop loads with four workers and pinned memory;
the leanest eager loop has its data on the device; GPT runs in bf16 autocast for all. The last table
holds what was wanted against what was measured. `--dry` runs it all on the CPU in tiny sizes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from protocol import Row, call, interleave, machine, markdown, median, publish, ratio
from steps import HAND, LEAN, check_same_work, table
from workloads import ALL, DRY, ON_GPU

OURS, EAGER = "lrrun", "lrrun, not captured"
CONTENDERS = (HAND, LEAN, OURS, EAGER)

Rows = Mapping[str, Sequence[Row]]

FASTER = 4.0
"""A captured step against the leanest eager loop, on the digits MLP."""

THROUGHPUT = 0.98
"""Of the hand-written loop, on the large models."""

TOGETHER = 3.0
"""The sweep as one, in times of one run of lrrun's."""


@dataclass(frozen=True)
class Size:
    """What is measured: workloads, by name, and how many LRs are swept on the first."""

    digits: str
    large: tuple[str, ...]
    lrs: int
    facts: str

    @property
    def names(self) -> tuple[str, ...]:
        return (self.digits, *self.large)


def throughput(name: str, rows: Rows) -> str:
    """Rows of data a second, each against the hand-written loop."""
    size = ALL[name].batch_size
    lines = [
        (
            contender,
            f"{size / median(mine, 'wall_us') * 1e6:.0f}",
            f"{1 / ratio(mine, rows[HAND], 'wall_us'):.2f}",
        )
        for contender, mine in rows.items()
    ]
    return markdown(("contender", "rows a second", "/ hand-written"), lines)


def sweep(size: Size, folder: str, rounds: int) -> tuple[str, float]:
    """Many LRs as one against one solo run of lrrun's and of the leanest eager loop: the table, and
    the ratio to lrrun's.
    """
    many, alone, lean = f"{size.lrs} LRs, fused", "1 LR, lrrun", "1 LR, leanest eager loop"
    cases = {many: ("lrrun, fused", size.lrs), alone: ("lrrun, one by one", 1), lean: (LEAN, 1)}
    epochs = ALL[size.digits].epochs

    def measure(name: str) -> Row:
        contender, count = cases[name]
        sizes = (str(count), str(epochs))
        return call("fused_contenders.py", contender, size.digits, folder, *sizes)

    rows = interleave([*cases], rounds, measure)
    lines = [
        (
            name,
            f"{median(mine, 'whole_s'):.2f}",
            f"{ratio(mine, rows[alone], 'whole_s'):.2f}",
            f"{ratio(mine, rows[lean], 'whole_s'):.2f}",
        )
        for name, mine in rows.items()
    ]
    told = markdown(("sweep", "seconds", "/ 1 LR, lrrun", "/ 1 LR, leanest"), lines)
    return told, ratio(rows[many], rows[alone], "whole_s")


def verdicts(size: Size, measured: Mapping[str, Rows], together: float) -> str:
    """What was wanted, what was measured, and whether it is enough."""
    lines = []
    if size.digits in measured:
        digits = measured[size.digits]
        for other, what in ((LEAN, "leanest eager"), (EAGER, "lrrun not captured")):
            faster = 1 / ratio(digits[OURS], digits[other], "wall_us")
            lines.append(_line(f"{size.digits}: a step, {what} / lrrun", faster, FASTER, True))
    for name in (each for each in size.large if each in measured):
        speed = 1 / ratio(measured[name][OURS], measured[name][HAND], "wall_us")
        lines.append(_line(f"{name}: throughput / hand-written", speed, THROUGHPUT, True))
    what = f"{size.digits}: {size.lrs} LRs fused / 1 LR"
    lines.append(_line(what, together, TOGETHER, False))
    return markdown(("what", "measured", "wanted", "enough"), lines)


def _line(what: str, found: float, wanted: float, at_least: bool) -> tuple[str, ...]:
    enough = found >= wanted if at_least else found <= wanted
    bound = f"{'at least' if at_least else 'at most'} {wanted:g}"
    return what, f"{found:.2f}", bound, "yes" if enough else "no"


def measure_all(size: Size, rounds: int, out: Path | None) -> list[str]:
    """Measure and publish; what went wrong meanwhile, or otherwise than it should."""
    measured: dict[str, Rows] = {}
    odd = []
    with tempfile.TemporaryDirectory() as folder:
        for name in size.names:
            call("workloads.py", name, folder)

            def measure(contender: str, name: str = name) -> Row:
                return call("contenders.py", contender, name, folder)

            rows = interleave(CONTENDERS, rounds, measure)
            if len(rows) < len(CONTENDERS):  # the others' tables are worth having
                odd.append(f"{name}: measured without {', '.join({*CONTENDERS} - {*rows})}")
                continue
            measured[name] = rows
            text = f"{size.facts}.\n\n{table(rows)}\n\n{throughput(name, rows)}"
            publish(f"Steps: {name}", text, out)
            odd += [f"{name}: {each}" for row in rows[OURS] for each in row["said"]]
            try:
                check_same_work(rows)
            except SystemExit as error:  # a table that took minutes is shown all the same
                odd.append(f"{name}: {error}")
        told, together = sweep(size, folder, rounds)
        publish("Fused: gpu", f"{size.facts}.\n\n{told}", out)
    publish("GPU", f"{size.facts}.\n\n{verdicts(size, measured, together)}", out)
    return odd


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--quick", action="store_true", help="one round")
    asked.add_argument("--rounds", type=int, default=3)
    asked.add_argument("--dry", action="store_true", help="tiny sizes on the CPU: does it run?")
    asked.add_argument("--out", type=Path, help="keep the tables in this folder")
    given = asked.parse_args()
    import torch

    rounds = 1 if given.quick or given.dry else given.rounds
    if given.dry:
        (digits, *large), lrs, device = DRY, 2, "a dry run on the CPU, whose figures mean nothing"
    elif torch.cuda.is_available():
        (digits, *large), lrs, device = ON_GPU, 64, torch.cuda.get_device_name()
    else:
        print("gpu: no CUDA device here, so nothing was measured")
        return
    facts = f"{machine(1)}, {device}; {rounds} rounds"
    odd = measure_all(Size(digits, tuple(large), lrs, facts), rounds, given.out)
    if odd and not given.dry:
        sys.exit("\n".join(odd))


if __name__ == "__main__":
    main()

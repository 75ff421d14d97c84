"""On one GPU: the captured solo step, large models against hand-written loops, a fused sweep.

    python benchmarks/speed/gpu.py [--quick] [--rounds 3] [--out FOLDER]

Without CUDA it says so and ends. The hand-written loop loads with four workers and pinned memory;
the leanest eager loop has its data on the device; GPT runs in bf16 autocast for all.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from protocol import Row, call, interleave, machine, markdown, median, publish, ratio
from steps import HAND, LEAN, check_same_work, table
from workloads import ON_GPU

CONTENDERS = (HAND, LEAN, "lrrun")
SWEPT, COUNT = "digits-gpu", 64


def throughput(name: str, rows: dict[str, list[Row]]) -> str:
    """Rows of data a second, each against the hand-written loop."""
    size = ON_GPU[name].batch_size
    lines = [
        (
            contender,
            f"{size / median(mine, 'wall_us') * 1e6:.0f}",
            f"{1 / ratio(mine, rows[HAND], 'wall_us'):.2f}",
        )
        for contender, mine in rows.items()
    ]
    return markdown(("contender", "rows a second", "/ hand-written"), lines)


def sweep(folder: str, rounds: int) -> str:
    """64 LRs as one against one solo run of lrrun's and of the leanest eager loop."""
    cases = {
        f"{COUNT} LRs, fused": ("lrrun, fused", COUNT),
        "1 LR, lrrun": ("lrrun, one by one", 1),
        "1 LR, leanest eager loop": (LEAN, 1),
    }

    def measure(name: str) -> Row:
        contender, count = cases[name]
        return call("fused_contenders.py", contender, SWEPT, folder, str(count))

    rows = interleave([*cases], rounds, measure)
    lines = [
        (
            name,
            f"{median(mine, 'whole_s'):.2f}",
            f"{ratio(mine, rows['1 LR, lrrun'], 'whole_s'):.2f}",
            f"{ratio(mine, rows['1 LR, leanest eager loop'], 'whole_s'):.2f}",
        )
        for name, mine in rows.items()
    ]
    return markdown(("sweep", "seconds", "/ 1 LR, lrrun", "/ 1 LR, leanest"), lines)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--quick", action="store_true", help="one round")
    asked.add_argument("--rounds", type=int, default=3)
    asked.add_argument("--out", type=Path, help="keep the tables in this folder")
    given = asked.parse_args()
    import torch

    if not torch.cuda.is_available():
        print("gpu: no CUDA device here, so nothing was measured")
        return
    rounds = 1 if given.quick else given.rounds
    facts = f"{machine(1)}, {torch.cuda.get_device_name()}; {rounds} rounds"
    with tempfile.TemporaryDirectory() as folder:
        for name in ON_GPU:
            call("workloads.py", name, folder)

            def measure(contender: str, name: str = name) -> Row:
                return call("contenders.py", contender, name, folder)

            rows = interleave(CONTENDERS, rounds, measure)
            check_same_work(rows)
            text = f"{facts}.\n\n{table(rows)}\n\n{throughput(name, rows)}"
            publish(f"Steps: {name}", text, given.out)
        publish("Fused: gpu", f"{facts}.\n\n{sweep(folder, rounds)}", given.out)


if __name__ == "__main__":
    main()

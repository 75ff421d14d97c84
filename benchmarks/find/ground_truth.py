"""Grids of learning rates, trained to the end: what `lrrun find` is judged by.

    python benchmarks/find/ground_truth.py [TASK...]

writes results/TASK-grid.csv: 13 LRs, three a decade, and 5 seeds. Runs that diverge have the loss
inf.
"""

from __future__ import annotations

import csv

import numpy as np
from tasks import RESULTS, SEEDS, TASKS, asked, final_losses

LRS = 13


def main() -> None:
    for task in asked():
        low, high = TASKS[task]
        lrs = [float(f"{lr:.3g}") for lr in np.geomspace(low, high, LRS)]
        runs = [(lr, seed) for lr in lrs for seed in SEEDS]
        results = final_losses(task, runs)
        with (RESULTS / f"{task}-grid.csv").open("w", newline="") as handle:
            table = csv.writer(handle, lineterminator="\n")
            table.writerow(["lr", "seed", "val_loss", "steps"])
            for (lr, seed), (loss, steps) in zip(runs, results, strict=True):
                table.writerow([lr, seed, f"{loss:.6g}", steps])
        best = min(loss for loss, _ in results)
        print(f"{task}: {len(runs)} runs, lowest val_loss {best:.4g}", flush=True)


if __name__ == "__main__":
    main()

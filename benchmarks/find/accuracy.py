"""How often `lrrun find` is right, and what it costs.

    python benchmarks/find/accuracy.py [TASK...]

Each task is searched ten times, with seeds 0 to 9, and what is found is trained with the grid's
seeds (see ground_truth.py). The rules of other libraries are asked on the same range tests. Writes
results/TASK-found.csv, a row a search, and prints what report.py makes of it.
"""

from __future__ import annotations

import csv
import math
import tempfile
import time
from pathlib import Path

import numpy as np
from peers import RULES as PEERS
from peers import suggestions
from report import Truth, report
from tasks import RESULTS, SEEDS, asked, config, final_losses

from lrrun.analysis.lr_rules import RULES
from lrrun.config.reading import load_experiment
from lrrun.search.find import Search, find
from lrrun.search.finding import Finding

REPETITIONS = 10
COLUMNS = (
    *("seed", "lr", "low", "high", "diverges_at"),
    *("excess_in_sd", "runs", "seconds_in_runs"),
)


def searched(task: str, seed: int) -> tuple[Finding, float]:
    """What is found, and the seconds it took."""
    experiment = load_experiment(config(task), [f"seed={seed}"])
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        *_, finding = find(experiment, Search(Path(folder), 1e-7, 10.0))
        return finding, time.perf_counter() - begun


def run_seconds(task: str) -> float:
    """What one run of the task takes, its folder included: the median of three."""
    lr = float(Truth.read(task).lr[Truth.read(task).best])
    taken = []
    for seed in SEEDS[:3]:
        begun = time.perf_counter()
        final_losses(task, [(lr, seed)])
        taken.append(time.perf_counter() - begun)
    return sorted(taken)[1]


def study(task: str) -> None:
    truth, alone = Truth.read(task), run_seconds(task)
    rows = []
    for seed in range(REPETITIONS):
        finding, seconds = searched(task, seed)
        losses = final_losses(task, [(finding.recommended_lr, each) for each in SEEDS])
        excess = truth.excess(float(np.mean([loss for loss, _ in losses])))
        row = {
            "seed": seed,
            "lr": finding.recommended_lr,
            "low": (finding.interval or (math.nan, math.nan))[0],
            "high": (finding.interval or (math.nan, math.nan))[1],
            "diverges_at": finding.diverges_at,
            "excess_in_sd": round(excess, 3),
            "runs": round(finding.cost.runs, 2),
            "seconds_in_runs": round(seconds / alone, 2),
            **{rule: f"{lr:.3g}" for rule, lr in finding.rules.items()},
            **{
                rule: f"{lr:.3g}"
                for rule, lr in suggestions(finding.curve.lr, finding.curve.loss).items()
            },
        }
        rows.append(row)
    with (RESULTS / f"{task}-found.csv").open("w", newline="") as handle:
        table = csv.DictWriter(handle, [*COLUMNS, *RULES, *PEERS], lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    print("\n".join(report(task)), flush=True)


def main() -> None:
    for task in asked():
        study(task)


if __name__ == "__main__":
    main()

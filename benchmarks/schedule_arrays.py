"""Ten million LRs from every closed-form schedule, against torch's schedulers stepping as often.

    python benchmarks/schedule_arrays.py

torch steps a tenth of that and its time is taken ten times; ours are computed in full. Every pair
runs interleaved, three times, each array once before it is timed, and the medians of their CPU time
are compared. The promise: at most 1/100.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.optim import lr_scheduler as torchs

from lrrun.schedules import schedule

STEPS = 10_000_000
SHARE = 10
ROUNDS = 3

PAIRS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "constant": (lambda o: torchs.ConstantLR(o, factor=1.0), "ConstantLR"),
    "step": (lambda o: torchs.StepLR(o, STEPS // 10), "StepLR"),
    "multistep": (lambda o: torchs.MultiStepLR(o, [STEPS // 2, STEPS // 4 * 3]), "MultiStepLR"),
    "exponential": (lambda o: torchs.ExponentialLR(o, 0.9999999), "ExponentialLR"),
    "linear": (lambda o: torchs.LinearLR(o, total_iters=STEPS), "LinearLR"),
    "polynomial": (lambda o: torchs.PolynomialLR(o, STEPS, 2.0), "PolynomialLR"),
    "cosine": (lambda o: torchs.CosineAnnealingLR(o, STEPS), "CosineAnnealingLR"),
    "cosine-restarts": (
        lambda o: torchs.CosineAnnealingWarmRestarts(o, STEPS // 10),
        "CosineAnnealingWarmRestarts",
    ),
    "one-cycle": (lambda o: torchs.OneCycleLR(o, 0.1, STEPS), "OneCycleLR"),
    "cyclic": (lambda o: torchs.CyclicLR(o, 0.01, 0.1, STEPS // 20), "CyclicLR"),
}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "step": {"every": "10%"},
    "multistep": {"at": ["50%", "75%"]},
    "exponential": {"final": "1%"},
    "polynomial": {"power": 2.0},
    "cosine-restarts": {"cycles": 10},
    "cyclic": {"up": "5%"},
}
ALONE: dict[str, dict[str, Any]] = {
    "wsd": {"warmup": "5%", "cooldown": "20%"},
    "inverse-sqrt": {"timescale": 1000},
    "inverse-time": {"rate": 1.0, "every": "1%"},
    "infinite": {"warmup": "5%", "cooldown": "20%", "hold": "10%", "anneal": "10%"},
    "tri-stage": {"warmup": "10%", "hold": "40%"},
    "rex": {},
    "k-decay": {},
    "tanh": {},
    "power": {},
    "natural-exponential": {"rate": 1.0, "every": "10%"},
    "cosine": {"warmup": "5%", "cooldown": "10%"},
    "deepseek-v3": {},
}


def ours(name: str, arguments: dict[str, Any]) -> float:
    """Seconds of CPU for the whole array."""
    built = schedule(name, lr=0.1, steps=STEPS, **arguments)
    steps = np.arange(STEPS)
    built(steps)  # the first touch of fresh memory is the machine's cost, not the schedule's
    begun = time.process_time()
    built(steps)
    return time.process_time() - begun


def theirs(make: Callable[[Any], Any]) -> float:
    """Seconds of CPU for as many steps, from a tenth of them."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1, momentum=0.9)
    scheduler = make(optimizer)
    optimizer.step()
    begun = time.process_time()
    for _ in range(STEPS // SHARE - 1):
        scheduler.step()
    return (time.process_time() - begun) * SHARE


def main() -> None:
    """Print a table: seconds of each and their ratio."""
    warnings.simplefilter("ignore")
    print("| schedule | lrrun, s | torch, s | lrrun / torch |\n|---|---|---|---|")
    reference = []
    for name, (make, torch_name) in PAIRS.items():
        pairs = [(ours(name, ARGUMENTS.get(name, {})), theirs(make)) for _ in range(ROUNDS)]
        mine, other = (statistics.median(each) for each in zip(*pairs, strict=True))
        reference.append(other)
        print(f"| {name} | {mine:.3f} | {other:.1f} ({torch_name}) | 1/{other / mine:.0f} |")
    fastest = min(reference)
    for name, arguments in ALONE.items():
        mine = statistics.median(ours(name, arguments) for _ in range(ROUNDS))
        label = f"{name} {arguments}" if arguments else name
        print(f"| {label} | {mine:.3f} | {fastest:.1f} (fastest above) | 1/{fastest / mine:.0f} |")


if __name__ == "__main__":
    main()

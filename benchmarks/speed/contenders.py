"""One contender trains one workload in this process and tells what it cost.

    python benchmarks/speed/contenders.py CONTENDER WORKLOAD FOLDER

Each marks the start, the end of every epoch (after its validation), and the end of all it does.
"""

from __future__ import annotations

import math
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peers
import torch
from protocol import Marks, peak_mb, tell
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from workloads import ALL, EVALUATION_ROWS, Loaded, load

Told = dict[str, Any]


def hand_written(kept: Loaded, marks: Marks) -> Told:
    """The loop that PyTorch's tutorials teach: DataLoader, scheduler.step() and .item() a batch."""
    workload, model, device = kept.workload, kept.model, kept.workload.device
    workers: dict[str, Any] = {}
    if device == "cuda":
        workers = {"num_workers": 4, "persistent_workers": True, "pin_memory": True}
    batches = DataLoader(
        TensorDataset(kept.x, kept.y), workload.batch_size, shuffle=True, **workers
    )
    val_batches = DataLoader(TensorDataset(kept.val_x, kept.val_y), EVALUATION_ROWS, **workers)
    optimizer = kept.optimizer()
    scheduler = kept.cosine(optimizer)
    losses, val_loss = [], 0.0
    marks.mark()
    for _ in range(workload.epochs):
        model.train()
        running, rows = 0.0, 0
        for x, y in batches:
            x, y = x.to(device, non_blocking=True), y.to(device, non_blocking=True)
            optimizer.zero_grad()
            with kept.autocast():
                logits = model(x)
                loss = F.cross_entropy(logits.flatten(0, -2), y.flatten())
            loss.backward()
            optimizer.step()
            scheduler.step()
            running += loss.item() * len(x)
            rows += len(x)
        losses.append(running / rows)
        model.eval()
        total, correct, count = 0.0, 0, 0
        with torch.no_grad(), kept.autocast():
            for x, y in val_batches:
                logits, classes = model(x.to(device)).flatten(0, -2), y.to(device).flatten()
                total += F.cross_entropy(logits, classes, reduction="sum").item()
                correct += (logits.argmax(1) == classes).sum().item()
                count += len(classes)
        val_loss = total / count
        marks.mark()
    return {"val_loss": val_loss, "train_loss": losses[-1], "steps": kept.steps}


def leanest_eager(kept: Loaded, marks: Marks) -> Told:
    """As little as eager torch can do and still train and validate: nothing is read or kept."""
    workload, model = kept.workload, kept.model
    x, y, val_x, val_y = (
        each.to(workload.device) for each in (kept.x, kept.y, kept.val_x, kept.val_y)
    )
    optimizer = kept.optimizer()
    (group,) = optimizer.param_groups
    lrs = [workload.lr * (1 + math.cos(math.pi * s / kept.steps)) / 2 for s in range(kept.steps)]
    step, val_loss, loss = 0, 0.0, torch.zeros(())
    marks.mark()
    for _ in range(workload.epochs):
        order = torch.randperm(len(x), device=x.device)
        model.train()
        for rows in order.split(workload.batch_size):
            group["lr"] = lrs[step]
            with kept.autocast():
                loss = F.cross_entropy(model(x[rows]).flatten(0, -2), y[rows].flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
        model.eval()
        with torch.no_grad(), kept.autocast():
            total = torch.zeros((), device=x.device)
            for some, classes in zip(
                val_x.split(EVALUATION_ROWS), val_y.split(EVALUATION_ROWS), strict=True
            ):
                logits = model(some).flatten(0, -2)
                total += F.cross_entropy(logits, classes.flatten(), reduction="sum")
        val_loss = total.item() / val_y.numel()
        marks.mark()
    return {"val_loss": val_loss, "train_loss": loss.item(), "steps": step}


def lrrun(*overrides: str) -> Callable[[str, Path, Marks], Told]:
    """lrrun's own runner, with the overrides: it writes a real run folder with default logging."""

    def contender(name: str, folder: Path, marks: Marks) -> Told:
        from lrrun.config.reading import load_experiment
        from lrrun.records import EpochRecord, Incident, Notice, Outcome
        from lrrun.training.runner import Started, run

        experiment = load_experiment(folder / f"{name}.yaml", overrides, allow_code=True)
        told: Told = {"said": []}
        with tempfile.TemporaryDirectory() as runs:
            for event in run(experiment, Path(runs)):
                if isinstance(event, Started):
                    marks.mark()
                elif isinstance(event, EpochRecord):
                    marks.mark()
                    told["val_loss"] = event.metrics["val_loss"]
                    told["train_loss"] = event.train_loss
                elif isinstance(event, Outcome):
                    told["steps"] = event.step
                elif isinstance(event, Incident | Notice):
                    told["said"].append(event.sentence)
        return told

    return contender


PLAIN: dict[str, Callable[[Loaded, Marks], Told]] = {
    "hand-written loop": hand_written,
    "leanest eager loop": leanest_eager,
    "Lightning": peers.lightning,
    "HF Trainer": peers.hugging_face,
    "Keras on torch": peers.keras,
}
OURS = {
    "lrrun": lrrun(),
    "lrrun, not captured": lrrun("train.cuda_graph=false"),
    "lrrun, grad_norm": lrrun("train.grad_norm=true"),
    "lrrun, compile": lrrun("train.compile=true"),
}


def main() -> None:
    contender, name, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    torch.manual_seed(0)
    marks, workload = Marks(), ALL[name]
    if contender in OURS:
        told = OURS[contender](name, folder, marks)
    else:
        told = PLAIN[contender](load(name, folder), marks)
    marks.mark()
    if len(marks.moments) != workload.epochs + 2:
        raise SystemExit(f"expected {workload.epochs} epochs, got {len(marks.moments) - 2}")
    timed = told["steps"] // workload.epochs * (workload.epochs - workload.warmup)
    whole = marks.per_step(workload.warmup, -1, timed)
    tell(
        **told,
        **marks.per_step(workload.warmup, -2, timed),
        quiet_us=marks.quietest(workload.warmup, -1, told["steps"] // workload.epochs),
        whole_us=whole["wall_us"],
        peak_mb=peak_mb(),
        threads=torch.get_num_threads(),
    )


if __name__ == "__main__":
    main()

"""What is trained: three small workloads, each a config of lrrun and the same thing in plain torch.

`python benchmarks/speed/workloads.py NAME FOLDER` writes FOLDER/NAME.yaml and FOLDER/NAME.pt, the
data and initial weights as lrrun has them, from which every other contender starts.
"""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

EVALUATION_ROWS = 512
"""Rows of a validation batch, for all."""


@dataclass(frozen=True)
class Workload:
    """A model, its data and how it is trained, the same for every contender.

    `warmup` epochs are left out of the time. The LR falls from `lr` along a cosine to 0, stepped at
    every update.
    """

    name: str
    model: dict[str, Any]
    dataset: dict[str, Any]
    optimizer: dict[str, Any]
    epochs: int
    warmup: int
    device: str = "cpu"
    precision: str = "fp32"

    @property
    def batch_size(self) -> int:
        size: int = self.dataset["batch_size"]
        return size

    @property
    def lr(self) -> float:
        lr: float = self.optimizer["lr"]
        return lr

    def config(self) -> dict[str, Any]:
        """As lrrun reads it."""
        return {
            "name": self.name,
            "seed": 0,
            "model": self.model,
            "dataset": self.dataset,
            "optimizer": self.optimizer,
            "scheduler": {"name": "cosine"},
            "train": {
                "epochs": self.epochs,
                "device": self.device,
                "precision": self.precision,
            },
        }


MLP = {"name": "mlp", "hidden": [128, 128]}
SGD = {"name": "sgd", "lr": 0.05, "momentum": 0.9}
ADAMW = {"name": "adamw", "lr": 0.004, "betas": [0.9, 0.95], "weight_decay": 0.1}
IMAGES = {"name": "images:patterns", "rows": 1024, "val_rows": 256}
TEXT = {"name": "text", "path": "python-stdlib", "max_bytes": 110_000, "context": 64}

DIGITS = {"name": "digits", "batch_size": 64}
CONVNET = {"name": "cnn", "channels": [16, 32]}

WORKLOADS = {
    each.name: each
    for each in (
        Workload("digits", MLP, DIGITS, SGD, 100, 10),
        Workload("convnet", CONVNET, {**IMAGES, "batch_size": 32}, {**SGD, "lr": 0.01}, 6, 1),
        Workload(
            "gpt",
            {"name": "gpt", "layers": 2, "heads": 4, "width": 64},
            {**TEXT, "batch_size": 32},
            ADAMW,
            5,
            1,
        ),
    )
}
"""What a step is timed on."""

SWEPT = {
    each.name: each
    for each in (
        Workload("mlp-128-128", MLP, DIGITS, SGD, 100, 0),
        Workload("mlp-32-32", {"name": "mlp", "hidden": [32, 32]}, DIGITS, SGD, 100, 0),
        Workload("small-cnn", CONVNET, DIGITS, SGD, 30, 0),
    )
}
"""What many LRs are swept on; they replace the one that stands here."""

ON_GPU = {
    each.name: each
    for each in (
        Workload("digits-gpu", MLP, DIGITS, SGD, 100, 10, "cuda"),
        Workload(
            "resnet-gpu",
            {"name": "resnet", "depth": 20},
            {**IMAGES, "rows": 51_200, "batch_size": 512},
            SGD,
            6,
            1,
            "cuda",
        ),
        Workload(
            "gpt-gpu",
            {"name": "gpt", "layers": 10, "heads": 8, "width": 512},
            {**TEXT, "max_bytes": 2_000_000, "context": 256, "batch_size": 32},
            {**ADAMW, "lr": 0.0003},
            4,
            1,
            "cuda",
            "bf16",
        ),
    )
}

_TINY = {
    "digits-gpu": ({"name": "mlp", "hidden": [8]}, {**DIGITS, "batch_size": 720}),
    "resnet-gpu": (
        {"name": "resnet", "depth": 8},
        {**IMAGES, "rows": 64, "val_rows": 16, "batch_size": 32},
    ),
    "gpt-gpu": (
        {"name": "gpt", "layers": 1, "heads": 2, "width": 8},
        {**TEXT, "max_bytes": 20_000, "context": 16, "batch_size": 512},
    ),
}

DRY = {
    f"{name}-dry": replace(
        ON_GPU[name],
        name=f"{name}-dry",
        model=model,
        dataset=dataset,
        epochs=2,
        warmup=1,
        device="cpu",
    )
    for name, (model, dataset) in _TINY.items()
}
"""The same on the CPU, so small that they show nothing but that it all runs."""

ALL = {**WORKLOADS, **SWEPT, **ON_GPU, **DRY}


@dataclass(frozen=True)
class Loaded:
    """The tensors of a workload, and its network before the first step."""

    workload: Workload
    x: Tensor
    y: Tensor
    val_x: Tensor
    val_y: Tensor
    model: nn.Module

    @property
    def steps_per_epoch(self) -> int:
        return -(-len(self.x) // self.workload.batch_size)

    @property
    def steps(self) -> int:
        return self.steps_per_epoch * self.workload.epochs

    def autocast(self) -> AbstractContextManager[Any]:
        """What the forward pass runs in."""
        import torch

        if self.workload.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.workload.device, torch.bfloat16)

    def optimizer(self) -> torch.optim.Optimizer:
        """torch's own, with its defaults."""
        import torch

        given = {key: value for key, value in self.workload.optimizer.items() if key != "name"}
        made = torch.optim.SGD if self.workload.optimizer["name"] == "sgd" else torch.optim.AdamW
        return made(self.model.parameters(), **given)

    def cosine(self, optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
        """torch's own, over the whole run."""
        import torch

        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=self.steps)


def load(name: str, folder: Path) -> Loaded:
    """What `write` left in the folder."""
    import torch

    workload = ALL[name]
    kept = torch.load(folder / f"{name}.pt")
    x, y, val_x, val_y = kept["tensors"]
    model = build(workload, tuple(x.shape[1:]), kept["outputs"])
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), kept["weights"], strict=True):
            parameter.copy_(value)
    model.to(workload.device)
    return Loaded(workload, x, y, val_x, val_y, model)


def build(workload: Workload, inputs: tuple[int, ...], outputs: int) -> nn.Module:
    """The network in plain torch."""
    import models

    spec = workload.model
    if spec["name"] == "mlp":
        return models.mlp(inputs, outputs, tuple(spec["hidden"]))
    if spec["name"] == "resnet":  # on a GPU, where no memory of the host is compared
        from lrrun.config.base import DataFacts
        from lrrun.config.models import ResNet
        from lrrun.training.models.resnet import resnet

        return resnet(
            ResNet(depth=spec["depth"]), DataFacts(0, 0, "classification", inputs, outputs)
        )
    if spec["name"] == "cnn":
        return models.cnn(inputs, outputs, tuple(spec["channels"]))
    return models.Gpt(outputs, inputs[0], spec["layers"], spec["width"], spec["heads"])


def write(name: str, folder: Path) -> None:
    """Write the config, and what lrrun makes of it before the first step."""
    import torch
    import yaml

    from lrrun.config.reading import load_experiment
    from lrrun.training.preparation import prepare

    file = folder / f"{name}.yaml"
    config = {**ALL[name].config(), "folder": str(Path(__file__).parent)}
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    ready = prepare(load_experiment(file, ["train.device=cpu"], allow_code=True))
    train, val = (
        part.batch(torch.arange(len(part))) for part in (ready.data.train, ready.data.val)
    )
    kept = {
        "tensors": [*train, *val],
        "outputs": ready.data.facts.outputs,
        "weights": [each.detach() for each in ready.trainee.model.parameters()],
    }
    torch.save(kept, folder / f"{name}.pt")


if __name__ == "__main__":
    write(sys.argv[1], Path(sys.argv[2]))
    print("\n{}")

"""A tiny experiment to sweep, and a model that can be made to kill its own process."""

from __future__ import annotations

from pathlib import Path

import pytest

CONFIG = """\
name: tiny
model: {name: mlp, hidden: [4]}
dataset: {name: digits, batch_size: 256}
optimizer: {name: sgd, lr: 0.05}
train: {steps: 4, device: cpu}
"""

DEADLY = """\
name: tiny
model: {name: "deadly:Net", at: 0, flag: dead}
dataset: {name: digits, batch_size: 256}
optimizer: {name: sgd, lr: 0.05}
train: {steps: 12, device: cpu}
checkpoint: {every: 3 steps}
"""

NET = '''
import os
import signal
from pathlib import Path

import torch


class Net(torch.nn.Module):
    """Kills its process at forward pass `at`, once: a file says that it has."""

    def __init__(self, at, flag):
        super().__init__()
        self.left, self.flag = at, Path(flag)
        self.flat = torch.nn.Flatten()
        self.linear = torch.nn.Linear(64, 10)

    def forward(self, x):
        self.left -= 1
        if self.left == 0 and not self.flag.exists():
            if "always" not in self.flag.name:
                self.flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return self.linear(self.flat(x))
'''


@pytest.fixture
def config(empty_folder: Path) -> Path:
    """A config whose runs take milliseconds."""
    (empty_folder / "c.yaml").write_text(CONFIG)
    return empty_folder / "c.yaml"


@pytest.fixture
def deadly(empty_folder: Path) -> Path:
    """A config whose model kills its process at forward pass `model.at`, the first time."""
    (empty_folder / "deadly.py").write_text(NET)
    text = DEADLY.replace("flag: dead", f"flag: {empty_folder / 'dead'}")
    (empty_folder / "d.yaml").write_text(text)
    return empty_folder / "d.yaml"

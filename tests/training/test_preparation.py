"""What many trials of one sweep have in common is asked once; what each of them is, is its own."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from lrrun.config.models import Cnn, Gpt, Linear, Mlp, ResNet
from lrrun.config.reading import experiment_from_text
from lrrun.errors import ConfigError
from lrrun.training import memory
from lrrun.training.preparation import prepare, seed_everything

CONFIG = """\
model: {name: mlp, hidden: [7]}
dataset: {name: digits, batch_size: 64}
optimizer: {name: sgd, lr: 0.05}
scheduler: constant
train: {steps: 2, device: cpu, threads: 1}
"""


def test_trials_that_share_a_model_ask_once_whether_it_fits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    built: list[object] = []
    build_shapes = memory.build_shapes

    def counted(spec, *arguments):
        built.append(spec.hidden)
        return build_shapes(spec, *arguments)

    monkeypatch.setattr(memory, "build_shapes", counted)
    memory._weight_bytes.cache_clear()
    first = prepare(experiment_from_text(CONFIG))
    for lr in (0.1, 0.2):
        first.alike(experiment_from_text(CONFIG, [f"optimizer.lr={lr}"]))
    assert built == [(7,)]
    first.alike(experiment_from_text(CONFIG, ["model.hidden=[9]"]))
    assert built == [(7,), (9,)]
    monkeypatch.setattr(memory, "device_memory", lambda _: 1000)
    with pytest.raises(ConfigError, match="GB for weights"):
        first.alike(experiment_from_text(CONFIG))


def test_every_built_in_model_can_be_asked_about_again() -> None:
    for spec in (Linear, Mlp, Cnn, ResNet, Gpt):
        assert hash(spec()) == hash(spec())


def test_all_generators_are_seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    def drawn() -> list[float]:
        return [torch.rand(1).item(), float(np.random.rand()), random.random()]

    for accelerator in (None, torch.device("cuda")):
        monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda it=accelerator: it)
        seed_everything(2**40 + 3)
        found = drawn()
        torch.manual_seed(2**40 + 3)
        np.random.seed(3)
        random.seed(2**40 + 3)
        assert found == drawn()

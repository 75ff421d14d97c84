"""What a run waits for the disk for: the table of docs/design/0011, and nothing beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lrrun.config.reading import experiment_from_text
from lrrun.training.fused.runner import train_many
from lrrun.training.runner import run

CONFIG = """\
name: a
model: {name: mlp, hidden: [4]}
dataset: {name: digits, batch_size: 256}
optimizer: {name: sgd, lr: 0.1}
scheduler: {name: cosine}
train: {epochs: 2, device: cpu, threads: 1}
"""
SAVING = ["best.pt", "steps.csv", "timing.csv", "epochs.csv", "next.pt", "checkpoints/"]
SETTLING = ["config.yaml", "run.json", "a-1/"]


@pytest.fixture
def waiting(use_disk: Any, fast_disk: Any) -> list[str]:
    """Every file and folder (with a slash) whose fsync was waited for, in order."""
    waited: list[str] = []

    class Noting(fast_disk):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            self.names: dict[int, str] = {}

        def open(self, path: Path, flags: int) -> int:
            descriptor = int(super().open(path, flags))
            temporary = path.name.endswith(".tmp")
            self.names[descriptor] = path.name[1:].rsplit(".", 2)[0] if temporary else path.name
            return descriptor

        def sync(self, descriptor: int) -> None:
            waited.append(self.names[descriptor])

        def sync_folder(self, folder: Path) -> None:
            waited.append(f"{folder.name}/")

    use_disk(Noting())
    return waited


def test_a_run_that_is_saved_at_its_end_waits_ten_times(tmp_path: Path, waiting) -> None:
    experiment = experiment_from_text(CONFIG, ["checkpoint.every=1000 steps"])
    [*_] = run(experiment, tmp_path)
    assert waiting == [f"{tmp_path.name}/", *SAVING, *SETTLING]


def test_a_run_is_settled_with_its_first_checkpoint_and_once(tmp_path: Path, waiting) -> None:
    settings = ["checkpoint.every=4 steps", "checkpoint.best=null"]
    [*_] = run(experiment_from_text(CONFIG, settings), tmp_path)
    saving = SAVING[1:]
    ending = ["run.json", "a-1/"]
    assert waiting == [f"{tmp_path.name}/", *saving, *SETTLING, *saving, *saving, *ending]


def test_runs_that_train_as_one_wait_once_for_the_names_of_their_folders(
    tmp_path: Path, waiting
) -> None:
    experiment = experiment_from_text(CONFIG, ["checkpoint.every=1000 steps"])
    [*_] = train_many([experiment.with_seed(seed) for seed in range(3)], tmp_path)
    assert waiting[0] == f"{tmp_path.name}/"
    assert waiting.count(f"{tmp_path.name}/") == 1
    assert len(waiting) == 1 + 3 * len([*SAVING, *SETTLING])

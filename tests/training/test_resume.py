"""A run that is stopped and resumed at every single step is the run that was never stopped."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lrrun.config.datasets import Digits
from lrrun.config.reading import load_experiment
from lrrun.errors import UnusableFile, UsageError
from lrrun.records import Notice, Outcome
from lrrun.runlog.info import read_info, write_info
from lrrun.training import checkpoint_files, datasets
from lrrun.training import loop as loop_module
from lrrun.training.checkpoints import Due
from lrrun.training.datasets.augment import crop_and_flip
from lrrun.training.journey import Started, loop_of
from lrrun.training.preparation import prepare
from lrrun.training.resume import resume
from lrrun.training.runner import run
from lrrun.training.signals import StopOnSignals
from lrrun.training.state import differences

RICH = """\
name: rich
model: {name: mlp, hidden: [8], dropout: 0.2}
dataset: {name: digits, batch_size: 120}
optimizer: {name: adamw, lr: 0.02, weight_decay: 0.1, decay_norms_and_biases: false}
scheduler: {name: plateau, factor: 0.5, patience: 0, threshold: 0.2, warmup: 3 steps}
co_schedules:
  weight_decay: {name: linear, final: 10%}
  batch_size: [{name: constant, factor: 50%, for: 10%}, {name: constant, factor: 1}]
train:
  steps: 30
  accumulate: 2
  clip_norm: 1.0
  grad_norm: true
  ema: 0.9
  evaluate: 4 steps
  early_stopping: {patience: 50}
  device: cpu
  threads: 1
"""

PLAIN = """\
name: plain
model: {name: mlp, hidden: [8]}
dataset: {name: digits, batch_size: 120}
optimizer: {name: sgd, lr: 0.05, momentum: 0.9}
scheduler: {name: cosine, warmup: 5%, final: 1%}
train: {epochs: 2, device: cpu, threads: 1}
"""

TABLES = ("epochs.csv", "steps.csv")


class StopAt(StopOnSignals):
    """Asks a run to stop before the update of one step."""

    def __init__(self, asked: int) -> None:
        super().__init__()
        self.left = asked

    def requested(self) -> bool:
        self.left -= 1
        return self.left < 0


def config(folder: Path, text: str = RICH, *overrides: str) -> Any:
    (folder / "c.yaml").write_text(text)
    return load_experiment(folder / "c.yaml", overrides)


def last(events: Iterator[Any]) -> Outcome:
    *_, outcome = events
    assert isinstance(outcome, Outcome)
    return outcome


def tables(path: Path) -> dict[str, bytes]:
    return {name: (path / name).read_bytes() for name in TABLES}


def final_state(path: Path) -> dict[str, Any]:
    content = checkpoint_files.load(path / "checkpoints" / "last.pt")
    return {key: value for key, value in content.items() if key not in ("run", "marks")}


def assert_same(run_path: Path, straight: Path) -> None:
    assert tables(run_path) == tables(straight)
    assert differences(final_state(run_path), final_state(straight)) == []
    best, other = (
        checkpoint_files.load(path / "checkpoints" / "best.pt") for path in (run_path, straight)
    )
    assert differences(best["model"], other["model"]) == []
    assert best["step"] == other["step"]


@pytest.fixture(scope="module", autouse=True)
def _augmented() -> Iterator[None]:
    """Digits are shifted and mirrored at random while they train."""
    load = datasets.LOADERS[Digits]
    datasets.LOADERS[Digits] = lambda *a: replace(load(*a), augment=crop_and_flip)
    yield
    datasets.LOADERS[Digits] = load


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("straight")
    torch.set_num_threads(1)
    outcome = last(run(config(folder), folder))
    assert (outcome.status, outcome.step) == ("completed", 30)
    return folder / "rich-1"


@pytest.mark.parametrize("stop", range(30))
def test_stopped_once_at_any_step(tmp_path: Path, straight: Path, stop: int) -> None:
    """`stop` counts questions, which evaluations ask too: some of these cut an evaluation short."""
    outcome = last(run(config(tmp_path), tmp_path, stop=StopAt(stop)))
    assert outcome.status == "interrupted"
    path = tmp_path / "rich-1"
    events = list(resume(path))
    started = next(each for each in events if isinstance(each, Started))
    assert started.step == outcome.step
    assert (started.step > 0) == (stop > 0)
    assert events[-1] == Outcome("completed", "all 30 steps done", 30)
    assert_same(path, straight)
    assert json.loads((path / "run.json").read_text())["resumed"][0]["step"] == outcome.step


def test_stopped_again_and_again(tmp_path: Path, straight: Path) -> None:
    """One update at a time, thirty times over."""
    outcome = last(run(config(tmp_path), tmp_path, stop=StopAt(1)))
    path = tmp_path / "rich-1"
    seen = [outcome.step]
    while outcome.status == "interrupted":
        events = list(resume(path, stop=StopAt(1)))
        started = next(each for each in events if isinstance(each, Started))
        assert started.step == seen[-1]
        outcome = events[-1]
        seen.append(outcome.step)
    assert sorted(set(seen)) == list(range(1, 31))
    assert_same(path, straight)


def test_an_evaluation_that_is_cut_short_is_made_on_resume(tmp_path: Path, straight: Path) -> None:
    """The fifth question is the evaluation's, after four updates."""
    outcome = last(run(config(tmp_path), tmp_path, stop=StopAt(4)))
    path = tmp_path / "rich-1"
    assert outcome.step == 4
    assert len((path / "epochs.csv").read_text().splitlines()) == 1
    last(resume(path))
    assert_same(path, straight)


@pytest.mark.parametrize("kept", [[], ["previous.pt"], ["previous.pt", "last.pt"]])
def test_rows_after_the_checkpoint_are_superseded(tmp_path: Path, kept: list[str]) -> None:
    straight = tmp_path / "straight"
    straight.mkdir()
    last(run(config(straight, PLAIN, "checkpoint.every=7 steps"), straight))
    last(run(config(tmp_path, PLAIN, "checkpoint.every=7 steps"), tmp_path, stop=StopAt(20)))
    path = tmp_path / "plain-1"
    for each in ("last.pt", "previous.pt"):
        if each not in kept:
            (path / "checkpoints" / each).unlink()
    events = list(resume(path))
    started = next(each for each in events if isinstance(each, Started))
    assert started.step == {0: 0, 1: 14, 2: 19}[len(kept)]
    notices = [each for each in events if isinstance(each, Notice)]
    assert bool(notices) == (kept == ["previous.pt"])
    assert_same(path, straight / "plain-1")
    assert (path / "superseded").exists() == (len(kept) < 2)


def test_a_finished_run_says_so(tmp_path: Path) -> None:
    last(run(config(tmp_path, PLAIN), tmp_path))
    before = tables(tmp_path / "plain-1")
    notice, outcome = resume(tmp_path / "plain-1")
    assert isinstance(notice, Notice) and "nothing to do" in notice.sentence
    assert outcome == Outcome("completed", "all 24 steps done", 24)
    assert tables(tmp_path / "plain-1") == before


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("train.epochs=3", "train.epochs: 2 in this run, 3 asked for"),
        ("scheduler=linear", "scheduler"),
        ("dataset.batch_size=60", "dataset.batch_size: 120 in this run, 60 asked for"),
        ("optimizer.lr=0.1", "optimizer.lr: 0.05 in this run, 0.1 asked for"),
        ("model.hidden=[9]", "model.hidden: [8] in this run, [9] asked for"),
        ("seed=1", "seed: 0 in this run, 1 asked for"),
    ],
)
def test_what_would_bend_the_run_is_refused(tmp_path: Path, override: str, named: str) -> None:
    last(run(config(tmp_path, PLAIN), tmp_path, stop=StopAt(3)))
    path = tmp_path / "plain-1"
    before = tables(path)
    with pytest.raises(UsageError) as refusal:
        list(resume(path, [override]))
    assert named in str(refusal.value)
    assert f"lrrun fork {path} --at last" in str(refusal.value)
    assert tables(path) == before
    text = (path / "config.yaml").read_text().replace("epochs: 2", "epochs: 5")
    (path / "config.yaml").write_text(text)
    with pytest.raises(UsageError, match=r"train\.epochs: 2 in this run, 5 asked for"):
        list(resume(path))


def test_threads_may_change_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    last(run(config(tmp_path, PLAIN), tmp_path, stop=StopAt(3)))
    events = list(resume(tmp_path / "plain-1", ["train.threads=2"]))
    notices = [each.sentence for each in events if isinstance(each, Notice)]
    assert notices == ["the same bits as before are not promised: threads 1 then, 2 now"]
    assert events[-1].status == "completed"


def test_data_that_have_changed_are_refused(tmp_path: Path) -> None:
    rows = [f"{k},{k % 3},{k * 0.5}" for k in range(40)]
    (tmp_path / "d.csv").write_text("\n".join(["a,b,y", *rows]) + "\n")
    data = f"dataset={{name: csv, path: {tmp_path}/d.csv, target: y, task: regression}}"
    overrides = (data, "dataset.batch_size=8", "optimizer.lr=0.001")
    outcome = last(run(config(tmp_path, PLAIN, *overrides), tmp_path, stop=StopAt(3)))
    assert outcome.status == "interrupted"
    rows[7] = "7,1,3.6"
    (tmp_path / "d.csv").write_text("\n".join(["a,b,y", *rows]) + "\n")
    with pytest.raises(UnusableFile, match="the data have changed since this run began"):
        list(resume(tmp_path / "plain-1"))


def test_a_model_of_another_shape_is_named(tmp_path: Path) -> None:
    last(run(config(tmp_path, PLAIN), tmp_path, stop=StopAt(3)))
    path = tmp_path / "plain-1" / "checkpoints" / "last.pt"
    content = checkpoint_files.load(path)
    name = next(iter(content["model"]))
    content["model"][name] = torch.zeros(3, 64)
    checkpoint_files.save(path, content)
    with pytest.raises(UnusableFile, match=f"{name} is 3x64, this model needs 8x64"):
        list(resume(tmp_path / "plain-1"))


def test_lost_best_weights_are_said(tmp_path: Path) -> None:
    last(run(config(tmp_path, PLAIN), tmp_path, stop=StopAt(20)))
    (tmp_path / "plain-1" / "checkpoints" / "best.pt").unlink()
    notices = [each for each in resume(tmp_path / "plain-1") if isinstance(each, Notice)]
    assert "the best weights so far" in notices[0].sentence


def test_a_kill_between_the_renames_of_the_last_save_leaves_a_last_checkpoint(
    tmp_path: Path,
) -> None:
    """The state is whole, under its other name: the resume has nothing to train, but to save."""
    last(run(config(tmp_path, PLAIN), tmp_path))
    path = tmp_path / "plain-1"
    (path / "checkpoints/last.pt").rename(path / "checkpoints/next.pt")
    write_info(path, {**read_info(path), "status": "running"})
    events = list(resume(path))
    assert next(each for each in events if isinstance(each, Started)).step == 24
    assert events[-1].status == "completed"
    assert checkpoint_files.load(path / "checkpoints/last.pt")["step"] == 24


def test_the_best_so_far_is_remembered(tmp_path: Path) -> None:
    """The LR that grows without end spoils what the first epochs reached."""
    worse = "scheduler=[{name: constant, for: 12 steps}, {name: constant, factor: 30}]"
    overrides = (worse, "train.divergence_factor=1000", "train.evaluate=4 steps")
    straight = tmp_path / "straight"
    straight.mkdir()
    last(run(config(straight, PLAIN, *overrides), straight))
    best = checkpoint_files.load(straight / "plain-1/checkpoints/best.pt")
    assert best["step"] <= 12
    outcome = last(run(config(tmp_path, PLAIN, *overrides), tmp_path, stop=StopAt(18)))
    assert outcome.step > best["step"]
    last(resume(tmp_path / "plain-1"))
    assert_same(tmp_path / "plain-1", straight / "plain-1")


def test_an_evaluation_that_is_cut_short_draws_no_chance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = prepare(config(tmp_path, PLAIN))
    monkeypatch.setattr(loop_module, "evaluate", lambda *_: print(torch.rand(1)))
    loop = loop_of(ready, lambda: False, Due(ready.experiment.checkpoint, ready.clock.units))
    loop.updates.make(12)
    before = torch.get_rng_state()
    assert list(loop.records()) == [Outcome("interrupted", "stopped on request", 12)]
    assert torch.equal(torch.get_rng_state(), before)


def test_a_diverged_run_goes_on_and_says_what_to_expect(tmp_path: Path) -> None:
    spike = "scheduler=[{name: constant, for: 18 steps}, {name: constant, factor: 1e9}]"
    settings = (spike, "checkpoint={every: 12 steps}")
    outcome = last(run(config(tmp_path, PLAIN, *settings), tmp_path))
    assert outcome.status == "diverged"
    events = list(resume(tmp_path / "plain-1"))
    notices = [each.sentence for each in events if isinstance(each, Notice)]
    assert len(notices) == 1 and "--at last optimizer.lr=" in notices[0]
    assert next(each for each in events if isinstance(each, Started)).step == 12
    assert events[-1] == outcome


def test_all_of_the_latest_checkpoints_count(tmp_path: Path) -> None:
    """The third newest is gone on from when the two before it are bad."""
    overrides = ("checkpoint.every=3 steps", "checkpoint.last=4")
    last(run(config(tmp_path, PLAIN, *overrides), tmp_path, stop=StopAt(16)))
    path = tmp_path / "plain-1"
    for name in ("last.pt", "previous.pt"):
        (path / "checkpoints" / name).write_bytes(b"bad")
    events = list(resume(path))
    assert next(each for each in events if isinstance(each, Started)).step == 9
    assert events[-1].status == "completed"

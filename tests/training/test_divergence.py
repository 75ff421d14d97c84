"""Divergence is seen before it does harm; skip and rewind say what they did, and repeat exactly."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lrrun.config.reading import experiment_from_text
from lrrun.config.train import Train
from lrrun.records import Incident, Outcome, StepRecord
from lrrun.training import checkpoint_files
from lrrun.training.checkpoints import Due
from lrrun.training.journey import loop_of
from lrrun.training.loop import Loop
from lrrun.training.preparation import Prepared, prepare
from lrrun.training.resume import resume
from lrrun.training.runner import run
from lrrun.training.signals import StopOnSignals
from lrrun.training.updates import SKIPS_IN_A_ROW
from lrrun.training.verify import Verdict, verify
from lrrun.training.watch import DivergenceWatch

CONFIG = """\
name: d
model: {name: mlp, hidden: [8]}
dataset: {name: digits, batch_size: 120}
optimizer: {name: sgd, lr: 0.05, momentum: 0.9}
scheduler: constant
train: {steps: 24, device: cpu, threads: 1}
checkpoint: {every: 5 steps}
"""


def poisoned(*overrides: str, at: tuple[int, ...] = (7,), value: float = math.nan) -> Prepared:
    """A run whose batches at these steps hold a nan."""
    return with_poison(prepare(experiment_from_text(CONFIG, overrides)), at, value)


def with_poison(ready: Prepared, at: tuple[int, ...], value: float) -> Prepared:
    steps = iter(range(10**6))

    def with_nan(x: torch.Tensor, chance: torch.Generator) -> torch.Tensor:
        if next(steps) in at:
            x = x.clone()
            x[0] = value
        return x

    return replace(ready, data=replace(ready.data, augment=with_nan))


def loop(ready: Prepared) -> Loop:
    return loop_of(ready, lambda: False, Due(ready.experiment.checkpoint, ready.clock.units))


def test_a_spike_is_seen_when_it_is_asked_for() -> None:
    watch = DivergenceWatch(factor=100.0, spike=3.0)
    assert all(watch.see(loss) is None for loss in (1.0, 1.0, 1.0))
    before = (watch.average, watch.count)
    trouble = watch.see(3.1)
    assert trouble is not None and trouble.of_batch
    assert "over 3 times its smoothed value (1)" in trouble.reason
    assert (watch.average, watch.count) == before
    assert DivergenceWatch(factor=100.0).see(1e6) is None


@pytest.mark.parametrize("norm", ["train.grad_norm=false", "train.grad_norm=true"])
def test_gradients_that_are_not_finite_stop_before_the_update(norm: str) -> None:
    ready = prepare(experiment_from_text(CONFIG, [norm]))
    calls = iter(range(10**6))
    first = next(ready.trainee.model.parameters())
    first.register_hook(lambda grad: grad * math.inf if next(calls) == 3 else grad)
    *rows, outcome = loop(ready).records()
    assert isinstance(outcome, Outcome) and outcome.status == "diverged"
    assert outcome.sentence.startswith("the gradients became non-finite at step 3")
    assert ready.trainee.step == 3
    assert math.isfinite(rows[-1].loss)
    assert all(bool(each.isfinite().all()) for each in ready.trainee.model.parameters())


def test_a_skipped_update_changes_nothing_but_the_step() -> None:
    """A run with a poisoned batch equals a hand-written loop that leaves that batch out."""
    ready = poisoned("train.on_divergence=skip")
    happened = list(loop(ready).records())
    skips = [each for each in happened if isinstance(each, Incident)]
    assert [(each.kind, each.step) for each in skips] == [("skip", 7)]
    assert "the loss became nan" in skips[0].sentence
    assert happened[-1] == Outcome("completed", "all 24 steps done", 24)

    other = prepare(experiment_from_text(CONFIG))
    by_hand = loop(other)
    optimizer = other.trainee.optimizer
    for step in range(24):
        batches, _ = by_hand.updates.feed.batches(step)
        optimizer.zero_grad()
        nn.functional.cross_entropy(other.trainee.model(batches[0][0]), batches[0][1]).backward()
        if step != 7:
            optimizer.step()
    pairs = zip(ready.trainee.model.parameters(), other.trainee.model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    losses = [each.loss for each in happened if isinstance(each, StepRecord)]
    assert [math.isnan(loss) for loss in losses] == [step == 7 for step in range(24)]


@pytest.mark.parametrize("unwatched", [False, True])
def test_a_skipped_batch_leaves_no_trace_in_the_statistics_of_norms(unwatched: bool) -> None:
    ready = poisoned("train.on_divergence=skip", "train.steps=9", "model={name: resnet, width: 4}")
    skipping = loop(ready)
    if unwatched:
        skipping.updates._watched = skipping.updates._unwatched  # type: ignore[method-assign]
    *_, outcome = skipping.records()
    buffers = dict(ready.trainee.model.named_buffers())
    assert any("running_mean" in name for name in buffers)
    assert all(bool(each.isfinite().all()) for each in buffers.values())
    assert isinstance(outcome, Outcome) and outcome.status == "completed"


def test_skipping_has_an_end() -> None:
    bad = tuple(range(5, 5 + SKIPS_IN_A_ROW + 1))
    *happened, outcome = loop(poisoned("train.on_divergence=skip", at=bad)).records()
    assert isinstance(outcome, Outcome) and outcome.status == "diverged"
    assert sum(isinstance(each, Incident) for each in happened) == SKIPS_IN_A_ROW
    assert outcome.step == bad[-1]


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_on_a_device_that_is_not_waited_for_the_bad_update_is_put_back(optimizer: str) -> None:
    """Simulated on the CPU: the same weights as with a look at every step (adamw: see Update)."""
    overrides = ["train.on_divergence=skip", f"optimizer={{name: {optimizer}, lr: 0.01}}"]
    watched, unwatched = (loop(poisoned(*overrides, at=(0, 7))) for _ in range(2))
    updates = unwatched.updates
    updates._watched = updates._unwatched  # type: ignore[method-assign]
    happened = [list(each.records()) for each in (watched, unwatched)]
    skipped = [[each.step for each in rows if isinstance(each, Incident)] for rows in happened]
    assert skipped == [[0, 7], [0, 7]]
    assert all(each.trainee.step == 24 for each in (watched, unwatched))
    pairs = zip(
        watched.trainee.model.parameters(), unwatched.trainee.model.parameters(), strict=True
    )
    if optimizer == "sgd":
        assert all(torch.equal(a, b) for a, b in pairs)
    else:
        assert all(torch.allclose(a, b, atol=0.05) for a, b in pairs)


def test_what_is_skipped_is_on_record_and_resumes_and_verifies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Poison that is a function of the rows, so that every replay meets it again."""
    poison_rows(monkeypatch)
    experiment = experiment_from_text(CONFIG, ["train.on_divergence=skip"])
    *_, outcome = run(experiment, tmp_path / "a")
    info = json.loads((tmp_path / "a/d-1/run.json").read_text())
    assert info["incidents"] and {each["kind"] for each in info["incidents"]} == {"skip"}

    class StopAt(StopOnSignals):
        left = 14

        def requested(self) -> bool:
            self.left -= 1
            return self.left < 0

    *_, cut = run(experiment, tmp_path / "b", stop=StopAt())
    assert cut.status == "interrupted"
    assert list(resume(tmp_path / "b/d-1"))[-1] == outcome
    for table in ("epochs.csv", "steps.csv"):
        one, other = ((tmp_path / each / "d-1" / table).read_bytes() for each in "ab")
        assert one == other
    again = json.loads((tmp_path / "b/d-1/run.json").read_text())
    assert again["incidents"] == info["incidents"]
    *_, verdict = verify(tmp_path / "b/d-1", 0)
    assert isinstance(verdict, Verdict) and verdict.difference is None
    assert verdict.steps == 24


def poison_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """One row of the digits is not finite."""
    from lrrun.config.datasets import Digits
    from lrrun.training import datasets

    load = datasets.LOADERS[Digits]

    def with_bad_row(*arguments: Any) -> Any:
        splits = load(*arguments)
        splits.train.x[11] = math.nan
        return splits

    monkeypatch.setitem(datasets.LOADERS, Digits, with_bad_row)


SPIKE = "scheduler=[{name: constant, for: 12 steps}, {name: constant, factor: 1e6}]"


def test_a_rewind_goes_back_and_cuts_the_lr(tmp_path: Path) -> None:
    overrides = [SPIKE, "train.on_divergence=rewind", "train.rewind_factor=1e-6"]
    happened = list(run(experiment_from_text(CONFIG, overrides), tmp_path))
    rewinds = [each for each in happened if isinstance(each, Incident)]
    assert [(each.to, each.factor) for each in rewinds] == [(10, 1e-6)]
    assert happened[-1] == Outcome("completed", "all 24 steps done", 24)
    path = tmp_path / "d-1"
    rows = [line.split(",") for line in (path / "steps.csv").read_text().splitlines()[1:]]
    assert [int(row[0]) for row in rows] == list(range(24))
    lrs = [float(row[1]) for row in rows]
    assert lrs[:10] == [0.05] * 10
    assert lrs[10:12] == pytest.approx([5e-8] * 2)
    assert lrs[12:] == pytest.approx([0.05] * 12)
    info = json.loads((path / "run.json").read_text())
    assert info["incidents"][0]["kind"] == "rewind"
    assert info["incidents"][0]["sentence"].startswith("the smoothed loss rose") or (
        "loss became" in info["incidents"][0]["sentence"]
    )
    assert (path / "superseded" / "steps-1.csv").exists()
    *_, verdict = verify(path, 0)
    assert isinstance(verdict, Verdict) and verdict.difference is None


def test_a_rewound_run_resumes_with_its_cut(tmp_path: Path) -> None:
    overrides = [SPIKE, "train.on_divergence=rewind", "train.rewind_factor=1e-6"]
    experiment = experiment_from_text(CONFIG, overrides)
    list(run(experiment, tmp_path / "a"))

    class StopAfterRewind(StopOnSignals):
        rewound = False

        def requested(self) -> bool:
            return self.rewound

    stop = StopAfterRewind()
    events: Iterator[Any] = run(experiment, tmp_path / "b", stop=stop)
    for event in events:
        stop.rewound = stop.rewound or isinstance(event, Incident)
    assert event.status == "interrupted" and event.step == 10
    list(resume(tmp_path / "b/d-1"))
    a, b = ((tmp_path / each / "d-1/steps.csv").read_bytes() for each in "ab")
    assert a == b


def test_rewinds_have_an_end(tmp_path: Path) -> None:
    overrides = [SPIKE, "train.on_divergence=rewind", "train.rewind_factor=0.99"]
    *_, outcome = run(experiment_from_text(CONFIG, overrides), tmp_path)
    assert outcome.status == "diverged"
    info = json.loads((tmp_path / "d-1/run.json").read_text())
    assert len(info["incidents"]) == 10


def test_no_checkpoint_ever_holds_weights_that_are_not_finite(tmp_path: Path) -> None:
    experiment = experiment_from_text(CONFIG, [SPIKE.replace("1e6", "1e30"), "checkpoint.every=1"])
    *_, outcome = run(experiment, tmp_path)
    assert outcome.status == "diverged"
    for file in (tmp_path / "d-1/checkpoints").glob("*.pt"):
        model = checkpoint_files.load(file)["model"]
        assert all(bool(each.isfinite().all()) for each in model.values())


def test_the_default_is_to_stop() -> None:
    assert Train(epochs=1).on_divergence == "stop"

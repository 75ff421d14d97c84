"""The loop against a loop written by hand in plain PyTorch, and its promises one by one."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lrrun.config.reading import experiment_from_text
from lrrun.errors import ConfigError
from lrrun.records import EpochRecord, Outcome, StepRecord
from lrrun.training import datasets, models, updates
from lrrun.training.datasets import epoch_order
from lrrun.training.loop import Loop
from lrrun.training.runner import Prepared, prepare, seed_everything

CONFIG = """\
model: {name: mlp, hidden: [32]}
dataset: {name: digits, batch_size: 64}
optimizer: {name: sgd, lr: 0.05, momentum: 0.9}
scheduler: {name: cosine, warmup: 5%, final: 1%}
train: {epochs: 2, device: cpu, threads: 1}
"""


def prepared(*overrides: str) -> Prepared:
    return prepare(experiment_from_text(CONFIG, overrides))


def loop_of(ready: Prepared, stop: Callable[[], bool] = lambda: False) -> Loop:
    experiment = ready.experiment
    return Loop(
        ready.trainee,
        ready.data,
        experiment.train,
        experiment.dataset.batch_size,
        ready.clock,
        experiment.seeds[0],
        stop,
    )


def records(*overrides: str) -> tuple[list[StepRecord], list[EpochRecord], Outcome]:
    every = list(loop_of(prepared(*overrides)).records())
    steps = [each for each in every if isinstance(each, StepRecord)]
    epochs = [each for each in every if isinstance(each, EpochRecord)]
    assert isinstance(every[-1], Outcome)
    return steps, epochs, every[-1]


def by_hand(epochs: int, lr_of: Callable[[int], float], batch: int = 64) -> tuple[list[float], Any]:
    """What everybody writes: SGD on digits, the LR set before each step, nothing of ours inside."""
    experiment = experiment_from_text(CONFIG)
    data = datasets.load(experiment.dataset, Path())
    seed_everything(0)
    model = models.build(experiment.model, data.facts, Path())
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.9)
    rows = len(data.train)
    losses: list[float] = []
    for epoch in range(epochs):
        order = epoch_order(rows, 0, epoch)
        for begin in range(0, rows, batch):
            x, y = data.train.batch(order[begin : begin + batch])
            for group in optimizer.param_groups:
                group["lr"] = lr_of(len(losses))
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses, (model, data)


def test_the_losses_are_those_of_a_hand_written_loop_bit_for_bit() -> None:
    steps, epochs, outcome = records()
    lrs = [record.lr[0] for record in steps]
    losses, (model, data) = by_hand(2, lambda step: lrs[step])
    assert [record.loss for record in steps] == losses
    assert outcome == Outcome("completed", "all 46 steps done", 46)

    model.eval()
    x, y = data.val.batch(torch.arange(len(data.val)))
    with torch.no_grad():
        outputs = model(x)
    assert epochs[-1].metrics["val_acc"] == (outputs.argmax(1) == y).sum().item() / len(y)
    assert epochs[-1].metrics["val_loss"] == pytest.approx(F.cross_entropy(outputs, y).item())


def test_the_logged_lr_is_the_one_that_the_update_used() -> None:
    ready = prepared("optimizer.groups=[{match: '*.bias', name: biases, lr_factor: 0.1}]")
    used: list[tuple[float, ...]] = []
    optimizer = ready.trainee.optimizer
    optimizer.register_step_pre_hook(
        lambda *_: used.append(tuple(group["lr"] for group in optimizer.param_groups))
    )
    steps = [each for each in loop_of(ready).records() if isinstance(each, StepRecord)]
    assert [record.lr for record in steps] == used
    assert tuple(ready.trainee.schedules) == tuple(g["name"] for g in optimizer.param_groups)
    ratio = {name: s(10) for name, s in ready.trainee.schedules.items()}
    assert ratio["biases"] == pytest.approx(0.1 * ratio["default"])


def test_epochs_count_from_one_and_the_last_partial_batch_is_used() -> None:
    steps, epochs, _ = records()
    assert [(row.epoch, row.step, row.samples) for row in epochs] == [(1, 23, 1437), (2, 46, 2874)]
    sizes = [64] * 22 + [1437 - 22 * 64]
    mean = sum(r.loss * n for r, n in zip(steps[:23], sizes, strict=True)) / 1437
    assert epochs[0].train_loss == pytest.approx(mean)


def test_accumulated_gradients_are_those_of_the_large_batch() -> None:
    large, _, _ = records("dataset.batch_size=64")
    small, _, _ = records("dataset.batch_size=16", "train.accumulate=4")
    assert len(small) == len(large)
    assert [r.loss for r in small] == pytest.approx([r.loss for r in large], rel=1e-4)


def test_gradient_norms_and_clipping() -> None:
    ready = prepared("train.grad_norm=true", "train.steps=1")
    first = next(each for each in loop_of(ready).records() if isinstance(each, StepRecord))
    squares = sum(float((p.grad**2).sum()) for p in ready.trainee.model.parameters())
    assert first.grad_norm == pytest.approx(squares**0.5, rel=1e-5)

    ready = prepared("train.clip_norm=0.01", "train.steps=1")
    list(loop_of(ready).records())
    squares = sum(float((p.grad**2).sum()) for p in ready.trainee.model.parameters())
    assert squares**0.5 == pytest.approx(0.01, rel=1e-4)


def test_the_moving_average_of_the_weights_is_evaluated() -> None:
    ready = prepared("train.ema=0.9", "train.steps=5")
    weights: list[torch.Tensor] = []
    ready.trainee.optimizer.register_step_post_hook(
        lambda *_: weights.append(next(ready.trainee.model.parameters()).detach().clone())
    )
    list(loop_of(ready).records())
    average = weights[0]
    for each in weights[1:]:
        average = 0.9 * average + 0.1 * each
    evaluated = next(iter(ready.trainee.evaluated_weights.values()))
    assert torch.allclose(evaluated, average, atol=1e-6)
    assert not torch.allclose(evaluated, weights[-1], atol=1e-4)


def test_label_smoothing_is_for_training_alone() -> None:
    steps, epochs, _ = records("train.label_smoothing=0.5", "train.steps=1")
    plain, plain_epochs, _ = records("train.steps=1")
    assert steps[0].loss != plain[0].loss
    assert epochs[0].metrics["val_loss"] == pytest.approx(
        plain_epochs[0].metrics["val_loss"], rel=0.1
    )


def test_evaluation_every_n_steps_makes_a_row_each() -> None:
    _, epochs, _ = records("train.evaluate=10 steps")
    rows = [(row.epoch, row.step, bool(row.metrics)) for row in epochs]
    assert rows == [
        (1, 10, True),
        (1, 20, True),
        (1, 23, False),
        (2, 30, True),
        (2, 40, True),
        (2, 46, True),
    ]


def test_a_plateau_cuts_the_lr_as_torch_does() -> None:
    """The LR column of a run equals ReduceLROnPlateau fed with the run's own val_loss."""
    _, epochs, _ = records(
        "scheduler={name: plateau, factor: 0.5, patience: 0, threshold: 0.3}", "train.epochs=8"
    )
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.05)
    torchs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.5, patience=0, threshold=0.3
    )
    expected = []
    for row in epochs:
        expected.append(optimizer.param_groups[0]["lr"])
        torchs.step(row.metrics["val_loss"])
    assert [row.lr[0] for row in epochs] == expected
    assert expected[-1] < 0.05


def test_a_one_cycle_of_torch_drives_the_momentum_too() -> None:
    ready = prepared("scheduler={name: OneCycleLR, max_lr: 0.05, total_steps: 46}")
    seen: list[float] = []
    optimizer = ready.trainee.optimizer
    optimizer.register_step_pre_hook(lambda *_: seen.append(optimizer.param_groups[0]["momentum"]))
    steps = [each for each in loop_of(ready).records() if isinstance(each, StepRecord)]
    other = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.05, momentum=0.9)
    torchs = torch.optim.lr_scheduler.OneCycleLR(other, max_lr=0.05, total_steps=46)
    expected = []
    for _ in range(46):
        expected.append(other.param_groups[0]["momentum"])
        other.step()
        if len(expected) < 46:
            torchs.step()
    assert seen == pytest.approx(expected, rel=1e-10)
    assert [record.driven[0] for record in steps] == seen


def test_early_stopping() -> None:
    watched = "train.early_stopping={metric: val_loss, patience: 2, min_delta: 10}"
    _, epochs, outcome = records(watched, "train.epochs=9")
    assert len(epochs) == 3  # the first is the best; two more bring no improvement of 10
    assert outcome.status == "completed"
    assert outcome.sentence == "stopped early: val_loss has not improved for 2 evaluations"


def test_an_unknown_metric_is_named() -> None:
    for override in (
        "scheduler={name: plateau, metric: val_los}",
        "train.early_stopping={metric: val_los}",
    ):
        with pytest.raises(ConfigError, match=r"unknown metric .val_los.; did you mean val_loss\?"):
            prepared(override)


@pytest.mark.parametrize("lr", ["1e4", "1e30"])
def test_divergence_ends_the_run_with_step_and_lr(lr: str) -> None:
    steps, _, outcome = records(f"optimizer.lr={lr}", "scheduler=constant")
    assert outcome.status == "diverged"
    assert outcome.step == steps[-1].step
    assert f"at step {outcome.step} (epoch 1), lr {float(lr):.4g}" in outcome.sentence


def test_a_non_finite_loss_makes_no_update() -> None:
    ready = prepared("train.epochs=1")
    with torch.no_grad():
        next(ready.trainee.model.parameters())[0, 0] = float("nan")
    before = [p.detach().clone() for p in ready.trainee.model.parameters()]
    *_, outcome = loop_of(ready).records()
    assert isinstance(outcome, Outcome)
    assert (outcome.status, outcome.step, ready.trainee.step) == ("diverged", 0, 0)
    after = ready.trainee.model.parameters()
    pairs = zip(before, after, strict=True)
    assert all(torch.equal(a, b) for a, b in pairs if not a.isnan().any())


def test_a_request_to_stop_is_heard_at_the_next_step() -> None:
    calls = itertools.count()
    ready = prepared()
    every = list(loop_of(ready, lambda: next(calls) >= 7).records())
    assert every[-1] == Outcome("interrupted", "stopped on request", 7)
    assert ready.trainee.step == 7
    assert [each.step for each in every if isinstance(each, StepRecord)] == list(range(7))


def test_where_a_segment_ends_changes_nothing_but_when_it_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = loop_of(prepared("train.epochs=1"))
    long = [(loop.trainee.step, each) for each in loop.records()]
    monkeypatch.setattr(updates, "SEGMENT_SECONDS", 0.0)
    loop = loop_of(prepared("train.epochs=1"))
    short = [(loop.trainee.step, each) for each in loop.records()]
    assert [at for at, each in long if isinstance(each, StepRecord)] == [23] * 23
    assert [at for at, each in short if isinstance(each, StepRecord)] == [*range(1, 24)]
    told = [
        [each for _, each in every if not isinstance(each, EpochRecord)] for every in (long, short)
    ]
    assert told[0] == told[1]
    rows = [
        [each.metrics for _, each in every if isinstance(each, EpochRecord)]
        for every in (long, short)
    ]
    assert rows[0] == rows[1] != []


def test_a_request_to_stop_is_heard_between_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(updates, "SEGMENT_SECONDS", 0.0)
    calls = itertools.count()
    every = list(loop_of(prepared(), lambda: next(calls) >= 7).records())
    assert every[-1] == Outcome("interrupted", "stopped on request", 7)


def test_bf16_trains() -> None:
    _, epochs, outcome = records("train.precision=bf16")
    assert outcome.status == "completed"
    assert epochs[-1].train_loss < epochs[0].train_loss


def test_an_fp16_update_that_overflows_is_made_again_at_half_the_scale() -> None:
    plain, _, _ = records("train.epochs=1")
    ready = prepared("train.precision=fp16", "train.epochs=1")
    assert ready.trainee.scaler is not None
    ready.trainee.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)  # overflows at once
    steps = [each for each in loop_of(ready).records() if isinstance(each, StepRecord)]
    assert ready.trainee.step == len(steps) == 23
    assert ready.trainee.scaler.get_scale() < 2.0**40
    assert [r.lr for r in steps] == [r.lr for r in plain]
    assert [r.loss for r in steps] == pytest.approx([r.loss for r in plain], rel=0.05)


def test_augmentation_and_dropout_depend_on_the_seed_alone() -> None:
    first, _, _ = records("model.dropout=0.5")
    again, _, _ = records("model.dropout=0.5")
    other, _, _ = records("model.dropout=0.5", "seed=1")
    assert first == again
    assert first != other


def test_co_schedules_reach_the_optimizer_and_the_log() -> None:
    ready = prepared(
        "optimizer={name: adamw, lr: 0.01, weight_decay: 0.4, decay_norms_and_biases: false}",
        "co_schedules={weight_decay: {name: linear}, momentum: {name: linear, start: 0.8, "
        "final: 0.9}, batch_size: [{name: constant, factor: 25%, for: 50%}, {name: constant, "
        "factor: 1}]}",
        "train.epochs=1",
    )
    assert ready.trainee.driven == ("momentum", "weight_decay", "batch_size")
    used: list[list[tuple[float, float]]] = []
    optimizer = ready.trainee.optimizer
    optimizer.register_step_pre_hook(
        lambda *_: used.append([(g["betas"][0], g["weight_decay"]) for g in optimizer.param_groups])
    )
    steps = [each for each in loop_of(ready).records() if isinstance(each, StepRecord)]
    decays = {name: k for k, name in enumerate(ready.trainee.schedules)}
    for row, groups in zip(steps, used, strict=True):
        momentum, decay, _ = row.driven
        assert groups[decays["default"]] == (momentum, decay)
        assert groups[decays["no_decay"]] == (momentum, 0.0)
    sizes = [row.driven[2] for row in steps]
    assert sum(sizes) == 1437
    assert set(sizes[:48]) == {16}  # 12 of the 23 full updates' rows, 16 at a time
    assert set(sizes[48:-1]) == {64}
    assert steps[0].driven[:2] == (0.8, 0.4)
    assert steps[-1].driven[1] == pytest.approx(0.4 / len(steps))

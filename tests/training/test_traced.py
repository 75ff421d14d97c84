"""The compiled step: the same numbers as autograd's, traced once for a shape, whatever the LR."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lrrun.config.reading import experiment_from_text
from lrrun.errors import EnvironmentFault
from lrrun.records import Outcome, StepRecord
from lrrun.training import tuning
from lrrun.training.loop import Loop
from lrrun.training.preparation import prepare
from lrrun.training.tuning import (
    COMPILE_STEPS,
    Tuning,
    choose_capturing,
    choose_compiling,
    choose_threads,
    missing_compiler,
)

CPU = torch.device("cpu")

CONFIG = """
model: {name: mlp, hidden: [16]}
dataset: {name: digits, batch_size: 500}
optimizer: {name: sgd, lr: 0.05, momentum: 0.9}
scheduler: {name: cosine, warmup: 2}
train: {steps: 8, threads: 1, device: cpu}
"""


@pytest.fixture
def traced_only(monkeypatch):
    """Leave the compiler out: what is traced is run as it is."""
    import torch._inductor

    traced = []

    def keep(graph, inputs):
        traced.append(graph)
        return graph

    monkeypatch.setattr(torch._inductor, "compile", keep)
    return traced


def train(*overrides: str):
    ready = prepare(experiment_from_text(CONFIG, list(overrides)))
    experiment = ready.experiment
    loop = Loop(
        ready.trainee, ready.data, experiment.train, experiment.dataset.batch_size, ready.clock, 0
    )
    records = list(loop.records())
    assert isinstance(records[-1], Outcome)
    losses = [each.loss for each in records if isinstance(each, StepRecord)]
    return losses, ready.trainee.model.state_dict(), loop


RESNET = ("model={name: resnet, depth: 8, width: 2}", "dataset.batch_size=16", "train.steps=4")


@pytest.mark.parametrize(
    ("overrides", "tolerance"),
    [
        ((), 1e-6),
        (("train.accumulate=2", "dataset.batch_size=200"), 1e-6),
        (("train.label_smoothing=0.1", "train.clip_norm=0.5"), 1e-6),
        (("optimizer={name: adamw, lr: 0.01}", "train.ema=0.9"), 1e-6),
        (("train.precision=bf16",), 2e-2),
        (RESNET, 1e-5),
        (("model={name: cnn, channels: [4]}", "dataset.batch_size=100"), 1e-5),
    ],
    ids=["mlp", "accumulated", "smoothed", "averaged", "bf16", "batch norm", "convolution"],
)
def test_the_traced_step_gives_what_autograd_gives(traced_only, overrides, tolerance):
    losses, weights, _ = train(*overrides)
    again, traced_weights, _ = train("train.compile=true", *overrides)
    assert traced_only
    assert again == pytest.approx(losses, rel=tolerance)
    for name, expected in weights.items():
        torch.testing.assert_close(
            traced_weights[name], expected, rtol=tolerance * 100, atol=tolerance * 10
        )


def test_a_shape_is_traced_once_however_often_the_lr_changes(traced_only):
    train("train.compile=true", "train.steps=9")  # three updates an epoch, the last one smaller
    assert len(traced_only) == 2


def test_tracing_draws_nothing_and_moves_no_statistics(traced_only):
    ready = prepare(experiment_from_text(CONFIG, ["train.compile=true", *RESNET]))
    trainee, seen = ready.trainee, torch.get_rng_state()
    buffers = {name: each.clone() for name, each in trainee.model.named_buffers()}
    x, y = ready.data.train.batch(torch.arange(4))
    trainee.traced.graph(x, y, torch.ones(()))
    assert torch.equal(torch.get_rng_state(), seen)
    assert all(torch.equal(each, buffers[name]) for name, each in trainee.model.named_buffers())


def test_dropout_draws_anew_at_every_step_and_repeats_with_the_seed(traced_only):
    chosen = ("train.compile=true", "model.dropout=0.5", "optimizer.lr=1e-12")
    losses, _, _ = train(*chosen)
    assert len(set(losses[::3])) == len(losses[::3])
    assert train(*chosen)[0] == losses


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's compiler warns of torch
@pytest.mark.skipif(missing_compiler(CPU) is not None, reason="there is no C++ compiler here")
def test_what_is_compiled_trains_like_what_is_not():
    chosen = ("dataset.batch_size=1437", "train.steps=4")
    losses, weights, _ = train(*chosen)
    compiled, compiled_weights, _ = train(*chosen, "train.compile=true")
    assert compiled == pytest.approx(losses, rel=1e-5)
    for name, expected in weights.items():
        torch.testing.assert_close(compiled_weights[name], expected, rtol=1e-4, atol=1e-5)


def test_a_model_that_the_compiler_refuses_is_named(monkeypatch):
    import torch._inductor

    def refuse(graph, inputs):
        raise RuntimeError("no such kernel\nand much more")

    monkeypatch.setattr(torch._inductor, "compile", refuse)
    with pytest.raises(
        EnvironmentFault, match=r"RuntimeError: no such kernel; leave train\.compile"
    ):
        train("train.compile=true")


@pytest.mark.parametrize(
    ("steps", "found", "expected"),
    [(COMPILE_STEPS - 1, True, False), (COMPILE_STEPS, True, True), (COMPILE_STEPS, False, False)],
)
def test_auto_compiles_long_runs_where_it_can(monkeypatch, steps, found, expected):
    monkeypatch.setattr(tuning, "missing_compiler", lambda device: None if found else "g++")
    assert choose_compiling("auto", steps, CPU, None) is expected


def test_what_was_chosen_at_the_start_holds_when_the_run_goes_on(monkeypatch):
    monkeypatch.setattr(tuning, "missing_compiler", lambda device: None)
    assert choose_compiling("auto", 10, CPU, recorded=True)
    assert not choose_compiling("auto", COMPILE_STEPS, CPU, recorded=False)
    assert Tuning.recorded({"threads": 3, "compiled": True}) == Tuning(3, True, None)


def test_a_missing_compiler_is_said_where_compiling_is_asked_for(monkeypatch):
    monkeypatch.setattr(tuning, "missing_compiler", lambda device: "a C++ compiler")
    with pytest.raises(EnvironmentFault, match=r"needs a C\+\+ compiler.*compile: auto"):
        choose_compiling(True, 10, CPU, None)


CUDA = torch.device("cuda")


def test_small_steps_on_cuda_are_captured_and_nothing_else():
    small, large = torch.nn.Linear(4, 4), torch.nn.Linear(20_000, 10_000, device="meta")
    assert choose_capturing("auto", small, 64, CUDA, None)
    assert not choose_capturing("auto", large, 512, CUDA, None)
    assert choose_capturing(True, large, 512, CUDA, None)
    assert not choose_capturing(False, small, 64, CUDA, True)
    assert choose_capturing("auto", large, 512, CUDA, recorded=True)
    assert not choose_capturing(True, small, 64, CPU, None)


def test_threads_follow_the_environment_then_the_config_then_the_work(monkeypatch):
    monkeypatch.setattr(tuning, "available_cores", lambda: 6)
    small, large = torch.nn.Linear(4, 4), torch.nn.Linear(2000, 2000)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert [choose_threads(None, model, 64) for model in (small, large)] == [1, 6]
    assert choose_threads(3, small, 64) == 3
    assert choose_threads(None, small, 64, small_step=1) == 6
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert choose_threads(3, large, 64) == torch.get_num_threads()


def test_the_run_says_how_it_computes(tmp_path, traced_only):
    from lrrun.runlog.reader import Run
    from lrrun.training.runner import Started, run

    experiment = experiment_from_text(CONFIG, ["train.compile=true"])
    started = next(each for each in run(experiment, tmp_path) if isinstance(each, Started))
    assert Run.open(Path(started.path)).info["compiled"] is True

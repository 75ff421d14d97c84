"""A captured update trains as one that is made kernel by kernel, whatever the LR does meanwhile."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils._python_dispatch import TorchDispatchMode

from lrrun.config.reading import experiment_from_text, load_experiment
from lrrun.records import EpochRecord, Incident, Outcome, StepRecord
from lrrun.runlog.info import read_info
from lrrun.training import checkpoint_files
from lrrun.training.captured import Captured
from lrrun.training.loop import Loop
from lrrun.training.preparation import Prepared, prepare
from lrrun.training.resume import resume
from lrrun.training.runner import run
from lrrun.training.signals import StopOnSignals
from lrrun.training.state import capture, differences

CONFIG = """
name: captured
model: {name: mlp, hidden: [16]}
dataset: {name: digits, batch_size: 500}
optimizer: {name: sgd, lr: 0.05, momentum: 0.9}
scheduler: {name: cosine, warmup: 3, final: 1%}
train: {steps: 9, threads: 1, device: cpu}
"""
"""Three updates an epoch, the last one of fewer rows: two shapes of batches."""

KERNEL_BY_KERNEL = "train.cuda_graph=false"

NESTEROV = "optimizer={name: sgd, lr: 0.05, momentum: 0.9, nesterov: true, weight_decay: 0.01}"
GROUPS = "optimizer={name: adamw, lr: 0.01, groups: [{match: '*bias', lr_factor: 10%}]}"
NADAM = "optimizer={name: nadam, lr: 0.01}"
RESNET = ("model={name: resnet, depth: 8, width: 2}", "dataset.batch_size=16", "train.steps=6")
CNN = ("model={name: cnn, channels: [4]}", "dataset.batch_size=100", "train.steps=6")
GPT = (
    "model={name: gpt, layers: 1, heads: 2, width: 8}",
    "dataset={name: text, path: python-stdlib, max_bytes: 20000, context: 16, batch_size: 8}",
    "train.steps=6",
)
PLATEAU = "scheduler={name: plateau, factor: 0.5, patience: 0, threshold: 0.5, warmup: 2 steps}"
MOMENTUM = "co_schedules={momentum: {name: linear, final: 50%}}"

WHOLE: dict[str, tuple[str, ...]] = {
    "sgd": (),
    "nesterov, decay": (NESTEROV,),
    "without momentum": ("optimizer={name: sgd, lr: 0.05}",),
    "adam": ("optimizer={name: adam, lr: 0.01}",),
    "adamw, groups": (GROUPS, "train.grad_norm=true"),
    "adagrad": ("optimizer={name: adagrad, lr: 0.05}",),
    "clipped": ("train.clip_norm=0.1", "train.label_smoothing=0.1"),
    "averaged": ("train.ema=0.8", GROUPS),
    "accumulated": ("train.accumulate=2", "dataset.batch_size=200"),
    "plateau": (PLATEAU, "train.evaluate=2 steps"),
    "batch norm": (*RESNET, "train.ema=0.8"),
    "convolution": CNN,
    "gpt": (*GPT, "optimizer={name: adamw, lr: 0.01}", "train.clip_norm=1.0"),
    "bf16": ("train.precision=bf16",),
    "skipping": ("train.on_divergence=skip", "train.ema=0.8", "train.spike_factor=3.0"),
}
"""Runs whose updates are captured whole."""

GRADIENTS_ALONE: dict[str, tuple[str, ...]] = {
    "an optimizer that counts on the CPU": (NADAM,),
    "momentum is scheduled": (MOMENTUM,),
}
"""Runs whose optimizer steps outside of the graph."""

DRAWING = ("model.dropout=0.5", "train.ema=0.8")


def loop_of(ready: Prepared) -> Loop:
    experiment = ready.experiment
    size = experiment.dataset.batch_size
    return Loop(ready.trainee, ready.data, experiment.train, size, ready.clock, 0)


def train(*overrides: str) -> tuple[Loop, list[Any]]:
    loop = loop_of(prepare(experiment_from_text(CONFIG, overrides)))
    happened = list(loop.records())
    assert isinstance(happened[-1], Outcome) and happened[-1].status == "completed"
    return loop, happened


def losses(happened: list[Any]) -> list[float]:
    return [each.loss for each in happened if isinstance(each, StepRecord)]


def rows(happened: list[Any]) -> list[Any]:
    """All but what a clock says."""
    told = [each for each in happened if not isinstance(each, Incident)]
    timeless = {"seconds": 0.0, "samples_per_second": 0.0}
    return [replace(each, **timeless) if isinstance(each, EpochRecord) else each for each in told]


@pytest.mark.parametrize("name", [*WHOLE, *GRADIENTS_ALONE])
def test_a_captured_run_is_the_run_that_autograd_makes(cuda: Any, name: str) -> None:
    overrides = {**WHOLE, **GRADIENTS_ALONE}[name]
    plain, expected = train(*overrides, KERNEL_BY_KERNEL)
    assert cuda.captures == 0
    loop, happened = train(*overrides)
    assert (loop.updates.whole is not None) == (name in WHOLE)
    assert cuda.captures >= 1 and cuda.replays >= 4
    tolerance = 2e-2 if name == "bf16" else 1e-5
    assert losses(happened) == pytest.approx(losses(expected), rel=tolerance)
    assert [each.lr for each in rows(happened)[:-1]] == [each.lr for each in rows(expected)[:-1]]
    weights = loop.trainee.evaluated_weights
    for key, value in plain.trainee.evaluated_weights.items():
        torch.testing.assert_close(weights[key], value, rtol=100 * tolerance, atol=10 * tolerance)


@pytest.mark.parametrize("name", [*WHOLE, *GRADIENTS_ALONE, "drawing"])
def test_a_replay_has_the_bits_of_the_step_that_it_replays(cuda: Any, name: str) -> None:
    """Records, weights, buffers, averages, the optimizer's state and the random numbers."""
    overrides = {**WHOLE, **GRADIENTS_ALONE, "drawing": DRAWING}[name]
    loop, happened = train(*overrides)
    assert cuda.replays
    cuda.broken = True
    other, expected = train(*overrides)
    (fallback,) = (each for each in expected if isinstance(each, Incident))
    assert fallback.kind == "fallback"
    assert fallback.sentence.endswith("operation not permitted when stream is capturing")
    assert rows(happened) == rows(expected)
    assert differences(capture(loop), capture(other)) == []


@pytest.mark.parametrize("overrides", [(), (PLATEAU, "train.evaluate=2 steps")])
def test_a_changing_lr_captures_nothing_anew(cuda: Any, overrides: tuple[str, ...]) -> None:
    _, happened = train("train.steps=15", *overrides)
    assert len({each.lr for each in happened if isinstance(each, StepRecord)}) > 4
    assert (cuda.captures, cuda.replays) == (2, 15 - 2)


def test_the_lr_is_the_one_of_each_step(cuda: Any) -> None:
    """By hand: weights that lose lr · gradient."""
    ready = prepare(experiment_from_text(CONFIG, ["optimizer={name: sgd, lr: 0.05}"]))
    loop, by_hand = loop_of(ready), copy.deepcopy(ready.trainee.model)
    rates = loop.updates._rates(0, 9)
    for step in range(9):
        ((x, y),), _ = loop.updates.feed.batches(step)
        weights = list(by_hand.parameters())
        grads = torch.autograd.grad(nn.functional.cross_entropy(by_hand(x), y), weights)
        loop.updates.make(step + 1)
        with torch.no_grad():
            torch._foreach_sub_(weights, torch._foreach_mul(grads, rates.lr_at(step)[0]))
        for weight, parameter in zip(weights, ready.trainee.model.parameters(), strict=True):
            torch.testing.assert_close(parameter, weight)
    assert cuda.replays == 7


@pytest.mark.parametrize("overrides", [(), (NADAM,), (*DRAWING, "train.clip_norm=1.0")])
def test_a_captured_run_that_is_stopped_goes_on_with_the_same_bits(
    cuda: Any, tmp_path: Path, overrides: tuple[str, ...]
) -> None:
    class StopAt(StopOnSignals):
        left = 5

        def requested(self) -> bool:
            self.left -= 1
            return self.left < 0

    experiment = experiment_from_text(CONFIG, overrides)
    *_, straight = run(experiment, tmp_path / "a")
    *_, cut = run(experiment, tmp_path / "b", stop=StopAt())
    assert isinstance(cut, Outcome) and cut.status == "interrupted"
    assert list(resume(tmp_path / "b/captured-1"))[-1] == straight
    assert cuda.captures >= 3
    folders = [tmp_path / each / "captured-1" for each in "ab"]
    for table in ("epochs.csv", "steps.csv"):
        assert len({(each / table).read_bytes() for each in folders}) == 1
    one, other = (checkpoint_files.load(each / "checkpoints/last.pt") for each in folders)
    for each in (one, other):
        del each["run"], each["marks"]
    assert differences(one, other) == []


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "nadam", "rprop"])
@pytest.mark.parametrize("bad", [(0, 7), (4,)])
def test_an_update_that_is_not_finite_leaves_no_trace(
    cuda: Any, monkeypatch: pytest.MonkeyPatch, optimizer: str, bad: tuple[int, ...]
) -> None:
    """In a graph, too, the weights are those of a run that looks at every loss before it goes on;
    only the count of steps is not, where an optimizer keeps it on the CPU.
    """
    chosen = (
        "train.on_divergence=skip",
        "train.ema=0.8",
        f"optimizer={{name: {optimizer}, lr: 0.01}}",
    )

    def poisoned(*overrides: str) -> tuple[Loop, list[Any]]:
        steps = iter(range(100))

        def with_nan(x: Tensor, chance: torch.Generator) -> Tensor:
            return x * math.nan if next(steps) in bad else x

        ready = prepare(experiment_from_text(CONFIG, [*chosen, *overrides]))
        loop = loop_of(replace(ready, data=replace(ready.data, augment=with_nan)))
        return loop, list(loop.records())

    loop, happened = poisoned()
    assert cuda.replays >= 3
    with monkeypatch.context() as here:
        here.setattr("lrrun.training.updates.is_waited_for", lambda device: True)
        watched, expected = poisoned(KERNEL_BY_KERNEL)
    skips = [
        [each.step for each in told if isinstance(each, Incident)] for told in (happened, expected)
    ]
    assert skips == [list(bad), list(bad)]
    tolerance = 0.05 if optimizer == "nadam" and bad != (0,) else 1e-4
    weights = loop.trainee.evaluated_weights
    for key, value in watched.trainee.evaluated_weights.items():
        torch.testing.assert_close(weights[key], value, rtol=tolerance, atol=tolerance)


def test_a_rewound_run_captures_anew(cuda: Any, tmp_path: Path) -> None:
    """Weights and moments lie elsewhere then."""
    spike = "scheduler=[{name: constant, for: 5 steps}, {name: constant, factor: 1e6}]"
    chosen = (
        "train.on_divergence=rewind",
        "train.rewind_factor=0.0000001",
        "checkpoint.every=5 steps",
    )
    told = []
    for how in ((), (KERNEL_BY_KERNEL,)):
        experiment = experiment_from_text(
            CONFIG, [spike, "train.divergence_factor=3", *chosen, *how]
        )
        *happened, outcome = run(experiment, tmp_path / f"runs{len(how)}")
        assert isinstance(outcome, Outcome) and outcome.status == "completed"
        assert any(isinstance(each, Incident) and each.kind == "rewind" for each in happened)
        told.append(losses(happened))
    assert cuda.captures >= 3
    assert told[0] == pytest.approx(told[1], rel=1e-3, nan_ok=True)


class Waiting(TorchDispatchMode):
    """Refuses what would make the host wait for a device, but for tensors that are on the host."""

    def __init__(self, host: list[Tensor]) -> None:
        super().__init__()
        self.host = {each.data_ptr() for each in host}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        waits = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape} & {*func.tags}
        of_host = args and isinstance(args[0], Tensor) and args[0].numel() == 1
        if waits and not (of_host and args[0].dtype in (torch.int64, torch.bool)):
            raise AssertionError(f"{func} waits for the device")
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    "overrides", [(), DRAWING, ("train.clip_norm=1.0", "train.grad_norm=true"), (GROUPS,)]
)
@pytest.mark.parametrize("captured", [True, False])
def test_no_update_waits_for_the_device(
    cuda: Any, overrides: tuple[str, ...], captured: bool
) -> None:
    how = () if captured else (KERNEL_BY_KERNEL,)
    loop = loop_of(prepare(experiment_from_text(CONFIG, [*overrides, *how])))
    with Waiting(cuda.host):
        rows, trouble = loop.updates.make(3)
    assert len(rows) == 3 and trouble is None


def test_the_moving_average_is_torchs() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    overrides = ["train.ema=0.8", "train.cuda_graph=false"]
    trainee = prepare(experiment_from_text(CONFIG, overrides)).trainee
    average = get_ema_multi_avg_fn(0.8)  # type: ignore[no-untyped-call]
    trainee.model = model
    trainee.ema, torchs = (AveragedModel(model, multi_avg_fn=average) for _ in range(2))
    for _ in range(4):
        with torch.no_grad():
            model(torch.randn(5, 3))
            for weight in model.parameters():
                weight += torch.randn_like(weight)
        trainee.average()
        torchs.update_parameters(model)
        assert differences(trainee.ema.state_dict(), torchs.state_dict()) == []


READS = """
import torch

class Reads(torch.nn.Module):
    def __init__(self, looks: bool):
        super().__init__()
        self.layer, self.looks = torch.nn.Linear(64, 10), looks

    def forward(self, x):
        y = self.layer(x.flatten(1))
        return y * 2 if self.looks and y.sum().item() > 0 else y
"""


@pytest.fixture
def own_model(tmp_path: Path) -> Iterator[Any]:
    (tmp_path / "reads_in_forward.py").write_text(READS)
    (tmp_path / "c.yaml").write_text(CONFIG)

    def with_own_model(*overrides: str, looks: bool) -> Prepared:
        model = f"model={{name: 'reads_in_forward:Reads', looks: {str(looks).lower()}}}"
        return prepare(load_experiment(tmp_path / "c.yaml", [model, *overrides], allow_code=True))

    return with_own_model


def test_a_model_that_reads_a_value_is_not_captured_and_told_so(cuda: Any, own_model: Any) -> None:
    ready = own_model("train.cuda_graph=true", looks=True)
    (notice,) = ready.notices
    assert "not captured as a CUDA graph" in notice and "data-dependent control flow" in notice
    assert ready.tuning.captured is False
    *_, outcome = loop_of(ready).records()
    assert outcome.status == "completed" and cuda.captures == 0


def test_somebodys_own_model_is_captured_where_that_is_asked_for(cuda: Any, own_model: Any) -> None:
    ready = own_model(looks=False)
    assert (ready.tuning.captured, ready.notices) == (False, ())
    expected = losses(list(loop_of(ready).records()))
    ready = own_model("train.cuda_graph=true", looks=False)
    assert ready.tuning.captured
    assert losses(list(loop_of(ready).records())) == pytest.approx(expected, rel=1e-5)
    assert cuda.replays


@pytest.mark.parametrize(
    ("overrides", "why_not"),
    [
        ((NADAM, "train.accumulate=2"), "gradients are accumulated"),
        (("co_schedules={batch_size: {name: linear, final: 50%}}",), "batch size is scheduled"),
    ],
)
def test_what_no_graph_can_hold_is_named(
    cuda: Any, overrides: tuple[str, ...], why_not: str
) -> None:
    ready = prepare(experiment_from_text(CONFIG, overrides))
    (notice,) = ready.notices
    assert notice.startswith("the step is not captured as a CUDA graph") and why_not in notice
    assert ready.trainee.traced is None and not ready.tuning.captured
    assert list(loop_of(ready).records())[-1].status == "completed" and cuda.captures == 0


def test_a_capture_that_fails_stands_in_the_run(cuda: Any, tmp_path: Path) -> None:
    cuda.broken = True
    *_, outcome = run(experiment_from_text(CONFIG), tmp_path)
    assert isinstance(outcome, Outcome) and outcome.status == "completed"
    (incident,) = read_info(tmp_path / "captured-1")["incidents"]
    assert incident["kind"] == "fallback"
    assert incident["sentence"].startswith("the step is not captured as a CUDA graph: CUDA error")


def test_like_runs_are_not_traced_before_they_begin(cuda: Any) -> None:
    """A stack of replicas traces for itself."""
    ready = prepare(experiment_from_text(CONFIG))
    traced, again = ready.trainee.traced, ready.alike(ready.experiment).trainee.traced
    assert traced is not None and again is not None
    assert (len(traced._graphs), len(again._graphs)) == (1, 0)


NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@NO_GPU
@pytest.mark.parametrize("name", [*WHOLE, *GRADIENTS_ALONE, "drawing"])
def test_on_a_gpu_a_captured_run_is_the_run_that_is_made_kernel_by_kernel(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Autograd's within rounding, the same list of kernels bit for bit."""
    on_gpu = {**WHOLE, **GRADIENTS_ALONE, "drawing": DRAWING}[name] + ("train.device=cuda",)
    loop, happened = train(*on_gpu, "train.cuda_graph=true")
    source = loop.updates.whole or loop.trainee.traced
    assert source is not None and source.failed is None
    if name != "drawing":
        _, expected = train(*on_gpu, KERNEL_BY_KERNEL)
        tolerance = 5e-2 if name == "bf16" else 1e-3
        assert losses(happened) == pytest.approx(losses(expected), rel=tolerance)
    monkeypatch.setattr(Captured, "_capture", lambda self: setattr(self, "failed", "not tried"))
    other, expected = train(*on_gpu, "train.cuda_graph=true")
    assert rows(happened) == rows(expected)
    assert differences(capture(loop), capture(other)) == []


def test_a_graph_keeps_the_constants_of_its_step(cuda: Any) -> None:
    double = Captured(functools.partial(_scaled, torch.full((2,), 2.0)), [torch.zeros(2)])
    for value in (1.0, 2.0, 3.0):
        assert double(torch.full((2,), value))[0].tolist() == [2 * value] * 2
    assert (cuda.captures, cuda.replays) == (1, 2)


def _scaled(factor: Tensor, x: Tensor) -> tuple[Tensor]:
    return (x * factor,)


@pytest.mark.parametrize(
    "step",
    [lambda x: (x * x.sum().item(),), lambda x: (x[x > 0],), lambda x: (x + torch.tensor(1.0),)],
    ids=["reads a value", "shaped by a value", "copies from the host"],
)
def test_what_cannot_be_captured_goes_on_as_it_is(cuda: Any, step: Any) -> None:
    captured = Captured(step, [torch.ones(2)])
    found = [captured(torch.full((2,), value)) for value in (1.0, 2.0, 3.0)]
    assert captured.failed is not None and "operation not permitted" in captured.failed
    assert cuda.captures == 0 and cuda.current is cuda.default
    expected = [step(torch.full((2,), value)) for value in (1.0, 2.0, 3.0)]
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one[0], other[0])

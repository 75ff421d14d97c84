"""A stack's update that nobody waits for, as a graph: as each replica alone, and bit for bit as
without the graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from lrrun.config.reading import experiment_from_text
from lrrun.records import EpochRecord, Incident, Outcome, StepBlock, StepRecord
from lrrun.training.fused import optimizers as optimizers_module
from lrrun.training.fused import updates as updates_module
from lrrun.training.fused.loop import FusedLoop
from lrrun.training.fused.replica import Replica
from lrrun.training.preparation import Prepared, prepare
from lrrun.training.state import capture, differences
from lrrun.training.timetable import Timetable

CONFIG = """\
name: s
model: {name: mlp, hidden: [8]}
dataset: {name: digits, batch_size: 500}
optimizer: {name: sgd, lr: 0.05, momentum: 0.9}
scheduler: {name: cosine, warmup: 3 steps}
train: {steps: 13, device: cpu, threads: 1}
"""
"""Three updates an epoch, the last one of fewer rows: two shapes of batches. The run ends in an
epoch, with the shape that was captured first."""

LRS = ("optimizer.lr=0.01", "optimizer.lr=0.03", "optimizer.lr=0.1")

OTHERS = ("nadam", "radam", "rmsprop", "adagrad", "adamax", "adadelta", "asgd", "rprop")

RUNS: dict[str, tuple[str, ...]] = {
    "sgd": (),
    "nesterov, decay": ("optimizer.nesterov=true", "optimizer.weight_decay=0.01"),
    "momentum is scheduled": ("co_schedules={momentum: {name: linear, final: 50%}}",),
    "adamw, groups, averaged": (
        "optimizer={name: adamw, lr: 0.01, groups: [{match: '*bias', lr_factor: 10%}]}",
        "train.ema=0.8",
        "train.grad_norm=true",
    ),
    "clipped, decay is scheduled": (
        "train.clip_norm=0.1",
        "optimizer={name: adam, lr: 0.01, weight_decay: 0.1}",
        "co_schedules={weight_decay: {name: cosine}}",
    ),
    **{name: (f"optimizer={{name: {name}, lr: 0.01}}",) for name in OTHERS},
    "accumulated": ("train.accumulate=2", "dataset.batch_size=200"),
    "batch norm": (
        "model={name: resnet, depth: 8, width: 2}",
        "dataset.batch_size=64",
        "train.steps=6",
        "train.on_divergence=skip",
    ),
}

DRAWING = ("model.dropout=0.5", "train.ema=0.8")


@pytest.fixture
def unwatched(cuda: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """As `cuda`, for stacks: the CPU is a device that is not waited for, and captures."""
    for module in (updates_module, optimizers_module):
        monkeypatch.setattr(module, "is_waited_for", lambda device: False)
    return cuda


def ready(*overrides: str, each: Sequence[str] = LRS) -> list[Prepared]:
    first, *others = (experiment_from_text(CONFIG, [*overrides, own]) for own in each)
    like = prepare(first)
    return [like, *(like.alike(other) for other in others)]


def train(prepared: Sequence[Prepared]) -> tuple[FusedLoop, list[list[Any]]]:
    """The loop at its end, and what it told of each replica, its updates one by one."""
    first = prepared[0]
    timetable = Timetable(first.experiment.train, first.clock)
    loop = FusedLoop([Replica(k, each, timetable) for k, each in enumerate(prepared)])
    told: list[list[Any]] = [[] for _ in prepared]
    for round_ in loop.rounds():
        for replica, each in round_:
            told[replica.index] += list(each) if isinstance(each, StepBlock) else [each]
    return loop, told


def rows(told: Sequence[Any], kind: type = object) -> list[Any]:
    """Records of a kind, without what a clock says, and what says how it was computed."""
    timeless = {"seconds": 0.0, "samples_per_second": 0.0}
    shown = [replace(r, **timeless) if isinstance(r, EpochRecord) else r for r in told]
    return [r for r in shown if isinstance(r, kind) and not isinstance(r, Incident)]


@pytest.mark.parametrize("name", RUNS)
def test_a_captured_stack_trains_as_one_that_is_looked_at(
    unwatched: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    loop, told = train(ready(*RUNS[name]))
    shapes = 1 if name == "batch norm" else 2
    assert unwatched.captures == shapes and unwatched.replays >= 4
    monkeypatch.undo()
    expected, want = train(ready(*RUNS[name], "train.cuda_graph=false"))
    for k in range(len(LRS)):
        got, wanted = rows(told[k], StepRecord), rows(want[k], StepRecord)
        assert [r.lr for r in got] == [r.lr for r in wanted]
        assert [r.loss for r in got] == pytest.approx([r.loss for r in wanted], rel=2e-4)
        one, other = (each.updates.optimizer.state_dict(k) for each in (loop, expected))
        for group, as_wanted in zip(one["param_groups"], other["param_groups"], strict=True):
            assert group == as_wanted  # the numbers of the last update, whichever graph made it
        steps = [
            [e["step"] for e in each["state"].values() if "step" in e] for each in (one, other)
        ]
        assert steps[0] == steps[1]


@pytest.mark.parametrize("name", [*RUNS, "drawing"])
def test_a_replay_has_the_bits_of_the_update_that_it_replays(unwatched: Any, name: str) -> None:
    """Records, weights, buffers, averages, the optimizer's state and the random numbers."""
    overrides = {**RUNS, "drawing": DRAWING}[name]
    loop, told = train(ready(*overrides))
    assert unwatched.replays
    unwatched.broken = True
    other, expected = train(ready(*overrides))
    for k, replica in enumerate(other.updates.replicas):
        (fallback,) = (each for each in expected[k] if isinstance(each, Incident))
        assert fallback.kind == "fallback"
        assert fallback.sentence.endswith("operation not permitted when stream is capturing")
        assert rows(told[k]) == rows(expected[k])
        assert differences(capture(loop.updates.replicas[k]), capture(replica)) == []


def test_one_that_diverges_is_left_behind_and_the_others_are_replayed(unwatched: Any) -> None:
    each = ["optimizer.lr=0.01", "optimizer.lr=1e9", "optimizer.lr=0.1", "optimizer.lr=0.05"]
    _, told = train(ready(each=each))
    assert [t[-1].status for t in told] == ["completed", "diverged", "completed", "completed"]
    assert unwatched.captures == 2
    _, without = train(ready(each=[each[0], each[2], each[3]]))
    for own, other in zip([told[0], told[2], told[3]], without, strict=True):
        losses = [r.loss for r in rows(own, StepRecord)]
        assert losses == pytest.approx([r.loss for r in rows(other, StepRecord)], rel=1e-5)


def test_a_changing_lr_captures_nothing_anew(unwatched: Any) -> None:
    _, told = train(ready("train.steps=30"))
    assert len({r.lr for r in rows(told[0], StepRecord)}) > 20
    assert (unwatched.captures, unwatched.replays) == (2, 30 - 2)
    assert isinstance(told[0][-1], Outcome)


def test_counters_of_a_stack_that_goes_on_stay_in_place(unwatched: Any) -> None:
    """As a resumed stack loads them: they are numbers before the first captured update."""
    loop, _ = train(ready("optimizer={name: adam, lr: 0.01}"))
    (group,) = loop.updates.optimizer.groups
    place = group.counters["step"]
    assert isinstance(place, torch.Tensor) and place.tolist() == [13.0] * 3
    loop.updates.optimizer.step()
    assert group.counters["step"] is place and place.tolist() == [14.0] * 3

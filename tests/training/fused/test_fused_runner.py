"""A fused run leaves the same folders as its replicas leave alone, but for rounding."""

from __future__ import annotations

import csv
import gc
import json
import math
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from lrrun.config.reading import experiment_from_text
from lrrun.errors import EnvironmentFault, UnusableFile
from lrrun.records import EpochRecord, Incident, Notice, Outcome, StepBlock, StepRecord
from lrrun.runlog import files
from lrrun.runlog.disk import Disk
from lrrun.training import checkpoint_files, tolerance
from lrrun.training.fused import chunks, runner, together
from lrrun.training.fused.refusal import NotFusable
from lrrun.training.fused.runner import train_many
from lrrun.training.fused.stack import FusedModel
from lrrun.training.fused.updates import FusedUpdates
from lrrun.training.journey import Started
from lrrun.training.resume import resume
from lrrun.training.runner import run
from lrrun.training.signals import StopOnSignals
from lrrun.training.verify import Verdict, verify

CONFIG = """\
name: f
model: {name: mlp, hidden: [8]}
dataset: {name: digits, batch_size: 120}
optimizer: {name: sgd, lr: 0.05, momentum: 0.9}
scheduler: {name: cosine, warmup: 5%, final: 1%}
train: {steps: 40, device: cpu, threads: 1}
"""

LRS = (["optimizer.lr=0.01"], ["optimizer.lr=0.1"], ["optimizer.lr=0.3"])

GROUPED = (
    "optimizer={name: adamw, lr: 0.01, weight_decay: 0.1, decay_norms_and_biases: false, "
    "groups: [{match: 'body.0*', lr_factor: 10%, scheduler: linear}]}"
)

CASES: dict[str, tuple[list[str], Sequence[list[str]]]] = {
    "learning rates": ([], LRS),
    "seeds": ([], (["seed=3"], ["seed=4"], ["seed=3", "optimizer.lr=0.2"])),
    "schedules": (
        ["train.log_every=3"],
        (
            ["scheduler=wsd"],
            ["scheduler={name: one-cycle}", "optimizer.lr=0.02"],
            ["co_schedules.momentum={name: linear, final: 50%}", "train.log_every=1"],
        ),
    ),
    "plateau": (
        ["train.evaluate=4 steps"],
        (
            ["scheduler={name: plateau, factor: 0.5, patience: 0, threshold: 0.2}"],
            ["scheduler={name: plateau, factor: 0.1, patience: 1, threshold: 0.5}"],
        ),
    ),
    "early stopping": (
        ["train.evaluate=2 steps"],
        (
            ["train.early_stopping={patience: 2, min_delta: 0.2}", "optimizer.lr=0.001"],
            ["train.early_stopping={patience: 3, min_delta: 0.1}", "optimizer.lr=0.002"],
            [],
            [],
        ),
    ),
    "clipping, EMA, accumulation": (
        ["train.ema=0.9", "train.accumulate=2", "train.grad_norm=true"],
        (
            ["train.clip_norm=0.5"],
            ["train.clip_norm=2", "train.ema=0.5"],
            ["optimizer.weight_decay=0.1"],
        ),
    ),
    "param groups": ([GROUPED], LRS),
    "divergence": ([], (["optimizer.lr=1e9"], *LRS)),
    "batch ramp": (
        ["co_schedules.batch_size=[{name: constant, factor: 50%, for: 30%}, {name: constant}]"],
        LRS,
    ),
}


class Fleeting(Disk):
    """A disk that nobody waits for: what is written here need not survive a power cut."""

    def sync(self, descriptor: int) -> None:
        """Go on at once."""

    def sync_folder(self, folder: Path) -> None:
        """Go on at once."""


@pytest.fixture(autouse=True)
def _fleeting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "disk", Fleeting())


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle))


def experiments(common: Sequence[str], each: Sequence[Sequence[str]]) -> list[Any]:
    return [experiment_from_text(CONFIG, [*common, *own]) for own in each]


def trained(folder: Path, many: Sequence[Any], **options: Any) -> list[list[Any]]:
    """What happened to each of them."""
    happened: list[list[Any]] = [[] for _ in many]
    for index, event in train_many(many, folder, **options):
        happened[index].append(event)
    return happened


def assert_rows_agree(one: Path, other: Path, relative: float = 1e-5) -> None:
    fused, alone = rows(one), rows(other)
    assert len(fused) == len(alone)
    for a, b in zip(fused, alone, strict=True):
        assert a.keys() == b.keys()
        for column in a:
            if column in ("epoch", "step", "samples", "momentum", "batch_size") or "lr" in column:
                assert a[column] == b[column], (column, a, b)
            elif a[column] != b[column]:
                expected = pytest.approx(float(b[column]), rel=relative, nan_ok=True)
                assert float(a[column]) == expected, (column, a, b)


@pytest.mark.parametrize("case", CASES)
def test_a_fused_run_writes_what_each_replica_writes_alone(tmp_path: Path, case: str) -> None:
    many = experiments(*CASES[case])
    happened = trained(tmp_path / "fused", many)
    for k, experiment in enumerate(many, start=1):
        alone = list(run(experiment, tmp_path / "alone"))
        name = f"f-{k}"
        fused = [each for each in happened[k - 1] if not isinstance(each, StepBlock)]
        solo = [each for each in alone if not isinstance(each, StepRecord)]
        assert [type(each) for each in fused] == [type(each) for each in solo]
        assert isinstance(fused[0], Started) and fused[0].together == len(many)
        one, other = fused[-1], solo[-1]
        assert (one.status, one.step) == (other.status, other.step)
        if other.status == "completed":
            assert one.sentence == other.sentence
        for table in ("epochs.csv", "steps.csv"):
            assert_rows_agree(tmp_path / "fused" / name / table, tmp_path / "alone" / name / table)
        info = json.loads((tmp_path / "fused" / name / "run.json").read_text())
        assert info["engine"]["fused"] == len(many)
        assert info["id"] == info["engine"]["chunk"][k - 1]
        assert info["status"] == other.status


def test_the_cases_are_what_they_are_called(tmp_path: Path) -> None:
    """Replicas do stop early, diverge and act on plateaus, each at a moment of its own."""
    ends = {}
    for case in ("early stopping", "divergence", "plateau"):
        happened = trained(tmp_path / case.replace(" ", "-"), experiments(*CASES[case]))
        ends[case] = [each[-1] for each in happened]
        if case == "plateau":
            lrs = [{b.lr for b in each if isinstance(b, EpochRecord)} for each in happened]
            assert all(len(each) > 1 for each in lrs) and lrs[0] != lrs[1]
    steps = [each.step for each in ends["early stopping"]]
    assert steps[0] < steps[1] < steps[2] == 40
    assert "stopped early" in ends["early stopping"][0].sentence
    assert [each.status for each in ends["divergence"]] == ["diverged", *["completed"] * 3]


def test_a_divergence_is_told_as_it_is_alone(tmp_path: Path) -> None:
    """Same step and, but for the digits of a loss, same sentence; the others never notice."""
    overrides = (["optimizer.lr=1e30"], ["train.spike_factor=1.01"], [])
    many = experiments([], overrides)
    fused = [each[-1] for each in trained(tmp_path / "fused", many)]
    alone = [list(run(each, tmp_path / "alone"))[-1] for each in many]
    assert fused == alone
    assert [each.status for each in fused] == ["diverged", "diverged", "completed"]
    content = checkpoint_files.load(tmp_path / "fused/f-3/checkpoints/last.pt")
    assert all(bool(each.isfinite().all()) for each in content["model"].values())


def test_checkpoints_are_those_of_a_run_alone(tmp_path: Path) -> None:
    many = experiments(["train.ema=0.9", "checkpoint={every: 15, keep: [10 steps]}"], LRS)
    trained(tmp_path / "fused", many)
    for k, experiment in enumerate(many, start=1):
        list(run(experiment, tmp_path / "alone"))
        folders = [tmp_path / kind / f"f-{k}" / "checkpoints" for kind in ("fused", "alone")]
        names = [sorted(each.name for each in folder.iterdir()) for folder in folders]
        assert names[0] == names[1] == ["best.pt", "last.pt", "previous.pt", "step-10.pt"]
        for name in names[0]:
            one, other = (checkpoint_files.load(folder / name) for folder in folders)
            assert one.keys() == other.keys()
            assert [one[key] for key in ("step", "samples")] == [
                other[key] for key in ("step", "samples")
            ]
            assert tolerance.far_apart(one["model"], other["model"], 1e-4) == []
            if name != "best.pt":
                assert one["trail"] == other["trail"]
                assert one["schedules"] == other["schedules"]
                groups = [each["optimizer"]["param_groups"] for each in (one, other)]
                assert [each["lr"] for each in groups[0]] == [each["lr"] for each in groups[1]]


class StopAt(StopOnSignals):
    """Asks a run to stop before the update of one step."""

    def __init__(self, asked: int) -> None:
        super().__init__()
        self.left = asked

    def requested(self) -> bool:
        self.left -= 1
        return self.left < 0


@pytest.mark.parametrize("common", [[], [GROUPED, "train.ema=0.9"]], ids=["sgd", "adamw"])
def test_a_replica_that_was_interrupted_goes_on_alone(tmp_path: Path, common: list[str]) -> None:
    many = experiments(["train.evaluate=6 steps", *common], LRS)
    happened = trained(tmp_path / "fused", many, stop=StopAt(25))
    ends = [each[-1] for each in happened]
    assert {each.status for each in ends} == {"interrupted"}
    assert len({each.step for each in ends}) == 1 and 0 < ends[0].step < 40
    for k, experiment in enumerate(many, start=1):
        list(run(experiment, tmp_path / "alone"))
        path = tmp_path / "fused" / f"f-{k}"
        assert checkpoint_files.load(path / "checkpoints/last.pt")["step"] == ends[0].step
        notice, *_, outcome = resume(path)
        assert isinstance(notice, Notice) and "not bit for bit" in notice.sentence
        assert outcome == Outcome("completed", "all 40 steps done", 40)
        for table in ("epochs.csv", "steps.csv"):
            assert_rows_agree(path / table, tmp_path / f"alone/f-{k}" / table, 1e-4)


def test_a_stop_before_a_group_has_begun_is_an_outcome_of_its_members(tmp_path: Path) -> None:
    stop = StopAt(0)
    happened = trained(tmp_path, experiments([], LRS), stop=stop)
    assert [[each.status for each in events] for events in happened] == [["interrupted"]] * 3
    assert not list(tmp_path.iterdir())


def test_a_fused_run_is_verified_to_its_tolerance(tmp_path: Path) -> None:
    trained(tmp_path, experiments(["checkpoint.every=10"], LRS))
    told = list(verify(tmp_path / "f-2", 0))
    assert any(isinstance(each, Notice) and "5%" in each.sentence for each in told)
    assert isinstance(told[-1], Verdict) and told[-1].difference is None
    assert (told[-1].steps, told[-1].first) == (40, 0)


@pytest.mark.parametrize(("column", "share"), [(1, 1e-9), (2, 0.2)], ids=["lr", "loss"])
def test_verify_sees_what_is_beyond_the_tolerance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, column: int, share: float
) -> None:
    from lrrun.runlog.reader import Run

    trained(tmp_path, experiments(["checkpoint.every=10"], LRS))
    name = {1: "lr", 2: "loss"}[column]
    steps = Run.open(tmp_path / "f-2").steps
    changed = {**steps, name: steps[name].copy()}
    changed[name][30] *= 1 + share
    monkeypatch.setattr(Run, "steps", property(lambda self: changed))
    *_, verdict = verify(tmp_path / "f-2", 0)
    assert isinstance(verdict, Verdict)
    assert verdict.difference is not None and f"step 30: {name}" in verdict.difference


def test_a_fused_run_with_dropout_cannot_be_verified_and_says_so(tmp_path: Path) -> None:
    trained(tmp_path, experiments(["train.steps=4", "model.dropout=0.2"], LRS))
    with pytest.raises(UnusableFile, match="dropout"):
        list(verify(tmp_path / "f-2"))


def test_what_cannot_be_stacked_is_trained_one_by_one_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: FusedModel, *batch: object) -> None:
        raise NotFusable("aten::nonzero, whose result has a shape of its own")

    monkeypatch.setattr(FusedModel, "probe", refuse)
    happened = trained(tmp_path, experiments([], LRS))
    notices = [each for events in happened for each in events if isinstance(each, Notice)]
    assert [each.sentence for each in notices] == [
        "3 runs are trained one by one: aten::nonzero, whose result has a shape of its own"
    ]
    assert [events[-1].status for events in happened] == ["completed"] * 3
    assert sorted(each.name for each in tmp_path.iterdir()) == ["f-1", "f-2", "f-3"]
    assert "engine" not in json.loads((tmp_path / "f-1/run.json").read_text())


def test_the_key_that_keeps_one_alone_is_named(tmp_path: Path) -> None:
    many = experiments(["train.steps=3"], (["train.on_divergence=rewind"], [], []))
    happened = trained(tmp_path, many)
    first = happened[0][0]
    assert isinstance(first, Notice) and "train.on_divergence" in first.sentence
    together_ = [each.together for events in happened for each in events if hasattr(each, "units")]
    assert together_ == [1, 2, 2]
    assert [events[-1].status for events in happened] == ["completed"] * 3


def test_one_by_one_is_what_run_writes_to_the_last_bit(tmp_path: Path) -> None:
    many = experiments(["train.steps=5"], LRS)
    trained(tmp_path / "many", many, fuse=False, facts={"command": "x"})
    for k, experiment in enumerate(many, start=1):
        list(run(experiment, tmp_path / "alone", command="x"))
        a, b = ((tmp_path / each / f"f-{k}/steps.csv").read_bytes() for each in ("many", "alone"))
        assert a == b


def test_one_that_cannot_begin_does_not_keep_the_others(tmp_path: Path) -> None:
    groups = "optimizer.groups=[{match: '*', lr_factor: 1}]"
    many = experiments(["train.steps=3", groups], (["optimizer.lr=0.1"], LRS[0], LRS[1]))
    object.__setattr__(many[0], "model", many[0].model.model_copy(update={"hidden": (-1,)}))
    many[1:] = [experiment_from_text(CONFIG, ["train.steps=3", *own]) for own in LRS[:2]]
    happened = trained(tmp_path, many, facts=[{"trial": k} for k in range(3)])
    assert [type(each) for each in happened[0]] == [Outcome]
    assert happened[0][0].status == "failed"
    assert [events[-1].status for events in happened[1:]] == ["completed"] * 2
    assert json.loads((tmp_path / "f-1/run.json").read_text())["trial"] == 1


@pytest.mark.parametrize("at", [0, 25], ids=["at once", "after a checkpoint"])
def test_out_of_memory_halves_the_chunk_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    gradients = FusedModel.gradients
    calls = iter(range(10**6))
    large: list[weakref.ref[FusedModel]] = []
    kept: list[FusedModel | None] = []

    def gradients_of_few(self: FusedModel, *arguments: Any) -> torch.Tensor:
        if self.replicas > 2 and next(calls) >= at:
            large.append(weakref.ref(self))
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 1 TB")
        kept.extend(each() for each in large)
        return gradients(self, *arguments)

    monkeypatch.setattr(FusedModel, "gradients", gradients_of_few)
    many = experiments(["checkpoint.every=10"], (*LRS, ["optimizer.lr=0.2"]))
    happened = trained(tmp_path / "fused", many)
    assert len(large) == 1 and kept and not any(kept), "the halves need the memory of the whole"
    assert sum(isinstance(each, Started) for events in happened for each in events) == 4
    notices = [each.sentence for events in happened for each in events if isinstance(each, Notice)]
    assert notices == ["out of memory: 4 replicas are trained in two halves"]
    for k, experiment in enumerate(many, start=1):
        list(run(experiment, tmp_path / "alone"))
        for table in ("epochs.csv", "steps.csv"):
            assert_rows_agree(
                tmp_path / f"fused/f-{k}" / table, tmp_path / f"alone/f-{k}" / table, 1e-4
            )
        info = json.loads((tmp_path / f"fused/f-{k}/run.json").read_text())
        assert (info["status"], info["engine"]["fused"]) == ("completed", 2)
        assert info["resumed"][0]["step"] == (20 if at else 0)


def test_out_of_memory_while_a_stack_is_built_leaves_nothing_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe = FusedUpdates.probe
    large: list[weakref.ref[FusedUpdates]] = []
    kept: list[FusedUpdates | None] = []

    def probe_of_few(self: FusedUpdates, *arguments: Any) -> None:
        if len(self.replicas) > 2:
            large.append(weakref.ref(self))
            raise MemoryError
        kept.extend(each() for each in large)
        probe(self, *arguments)

    monkeypatch.setattr(FusedUpdates, "probe", probe_of_few)
    gc.collect()
    gc.disable()
    try:
        happened = trained(tmp_path, experiments(["train.steps=5"], (*LRS, ["optimizer.lr=0.2"])))
    finally:
        gc.enable()
    assert [events[-1].status for events in happened] == ["completed"] * 4
    assert len(large) == 1 and kept and not any(kept)


@pytest.mark.parametrize("outcome", ["completed", "failed", "interrupted"])
def test_a_chunk_is_gone_when_the_next_one_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outcome: str
) -> None:
    """By its own: no search for cycles is waited for, which would find it some time later."""
    begun: list[weakref.ref[FusedUpdates]] = []
    kept: list[FusedUpdates | None] = []
    begin, evaluate = FusedUpdates.__init__, FusedModel.evaluate

    def watched(self: FusedUpdates, *arguments: Any) -> None:
        kept.extend(each() for each in begun)
        begun.append(weakref.ref(self))
        begin(self, *arguments)

    def evaluated(self: FusedModel, *arguments: Any) -> torch.Tensor:
        if outcome == "failed":
            raise ValueError("a bug")
        return evaluate(self, *arguments)

    monkeypatch.setattr(FusedUpdates, "__init__", watched)
    monkeypatch.setattr(FusedModel, "evaluate", evaluated)
    monkeypatch.setattr(runner, "chunk_sizes", lambda *_: [2, 2])
    many = experiments(["train.steps=5"], (*LRS, ["optimizer.lr=0.2"]))
    stop = StopAt(3) if outcome == "interrupted" else StopOnSignals()
    gc.disable()
    try:
        happened = trained(tmp_path, many, stop=stop)
        kept.extend(each() for each in begun)
    finally:
        gc.enable()
    assert happened[0][-1].status == outcome
    assert len(begun) == (1 if outcome == "interrupted" else 2)
    assert kept and not any(kept)


def test_what_torch_holds_of_a_gpu_and_does_not_use_is_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (1000, 8000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 5000)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 2000)
    assert chunks.free_bytes(torch.device("cuda")) == int(0.9 * (1000 + 3000))


def test_a_chunk_that_fails_leaves_its_sentence_and_the_next_one_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate = FusedModel.evaluate

    def broken(self: FusedModel, *arguments: Any) -> torch.Tensor:
        if self.replicas == 3:
            raise ValueError("a bug")
        return evaluate(self, *arguments)

    monkeypatch.setattr(FusedModel, "evaluate", broken)
    many = experiments(["train.steps=5"], (*LRS, ["model.hidden=[9]"], ["model.hidden=[9]"]))
    happened = trained(tmp_path, many)
    assert [events[-1].status for events in happened] == ["failed"] * 3 + ["completed"] * 2
    assert happened[0][-1].sentence == "ValueError: a bug"
    info = json.loads((tmp_path / "f-1/run.json").read_text())
    assert (info["status"], info["sentence"]) == ("failed", "ValueError: a bug")


def test_a_disk_that_fails_ends_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lrrun.runlog.writer import RunWriter

    def full(self: RunWriter, *arguments: Any) -> None:
        raise EnvironmentFault("no space left")

    monkeypatch.setattr(RunWriter, "write_steps", full)
    many = experiments(["train.steps=5"], (*LRS, ["model.hidden=[9]"], ["model.hidden=[9]"]))
    with pytest.raises(EnvironmentFault, match="no space left"):
        trained(tmp_path, many)
    assert not (tmp_path / "f-4").exists()


def test_skipped_updates_are_each_replicas_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One row of the data is not finite: seeds meet it at different steps."""
    from lrrun.config.datasets import Digits
    from lrrun.training import datasets

    load = datasets.LOADERS[Digits]

    def with_bad_row(*arguments: Any) -> Any:
        splits = load(*arguments)
        splits.train.x[11] = math.nan
        return splits

    monkeypatch.setitem(datasets.LOADERS, Digits, with_bad_row)
    common = ["train.on_divergence=skip"]
    many = experiments(common, (["seed=1"], ["seed=2"], ["train.on_divergence=stop", "seed=1"]))
    happened = trained(tmp_path / "fused", many)
    alone = [list(run(each, tmp_path / "alone")) for each in many]
    skips = [[each for each in events if isinstance(each, Incident)] for events in happened]
    assert skips == [[each for each in events if isinstance(each, Incident)] for events in alone]
    assert len(skips[0]) > 1 and skips[0] != skips[1] and skips[2] == []
    assert [events[-1] for events in happened] == [events[-1] for events in alone]
    for k in (1, 2, 3):
        for table in ("epochs.csv", "steps.csv"):
            assert_rows_agree(tmp_path / f"fused/f-{k}" / table, tmp_path / f"alone/f-{k}" / table)
        infos = [
            json.loads((tmp_path / kind / f"f-{k}/run.json").read_text())
            for kind in ("fused", "alone")
        ]
        assert infos[0].get("incidents") == infos[1].get("incidents")


def test_folders_are_numbered_in_the_order_of_the_experiments(tmp_path: Path) -> None:
    many = experiments(["train.steps=2"], [[f"optimizer.lr=0.0{k}"] for k in range(1, 8)])
    trained(tmp_path, many)
    for k in range(1, 8):
        config = json.loads((tmp_path / f"f-{k}/run.json").read_text())["config"]
        assert config["optimizer"]["lr"] == pytest.approx(k / 100)


def test_writing_threads_hand_on_what_one_of_them_raised() -> None:
    def fail(item: int) -> None:
        if item == 3:
            raise EnvironmentFault("disk")

    with pytest.raises(EnvironmentFault):
        together._at_once(fail, range(6), 4)


def test_runs_that_fill_the_processor_alone_are_not_stacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lrrun.training.fused import chunks

    monkeypatch.setattr(chunks, "LARGE_STEP_FLOPS", 6 * 610 * 120)
    happened = trained(tmp_path, experiments(["train.steps=2"], LRS))
    assert isinstance(happened[0][0], Notice)
    assert "fills the processor alone" in happened[0][0].sentence
    assert all(each[-1].status == "completed" for each in happened)
    monkeypatch.setattr(chunks, "LARGE_STEP_FLOPS", 6 * 610 * 120 + 1)
    assert not isinstance(trained(tmp_path, experiments(["train.steps=2"], LRS))[0][0], Notice)

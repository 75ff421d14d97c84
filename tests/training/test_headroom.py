"""The headroom gauge: against the closed form for a quadratic loss, and without a trace."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from lrrun.config.reading import experiment_from_text, load_experiment
from lrrun.errors import UsageError
from lrrun.records import HeadroomRecord, Outcome, StepRecord
from lrrun.runlog.info import write_info
from lrrun.runlog.reader import Run
from lrrun.training import checkpoint_files, headroom
from lrrun.training.checkpoints import Due
from lrrun.training.fork import fork
from lrrun.training.headroom import BISECTIONS, DOUBLINGS, critical_multiple
from lrrun.training.journey import loop_of
from lrrun.training.preparation import Prepared, prepare
from lrrun.training.resume import resume
from lrrun.training.runner import run
from lrrun.training.signals import StopOnSignals
from lrrun.training.state import differences
from lrrun.training.verify import Verdict, verify

PRECISION = 2 ** (1 / 2 ** (BISECTIONS + 1)) * 1.001

QUADRATIC = """\
model: linear
dataset: {name: synthetic-regression, rows: 200, features: 5, batch_size: 32}
optimizer: {name: sgd, lr: 0.02}
scheduler: constant
train: {steps: 12, device: cpu, threads: 1, headroom: {every: 4 steps}}
"""

DIGITS = """\
name: gauged
model: {name: mlp, hidden: [8], dropout: 0.3}
dataset: {name: digits, batch_size: 120}
optimizer: {name: adamw, lr: 0.02, weight_decay: 0.1, decay_norms_and_biases: false}
scheduler: {name: cosine, warmup: 3 steps, final: 1%}
train:
  steps: 24
  accumulate: 2
  clip_norm: 1.0
  grad_norm: true
  ema: 0.9
  evaluate: 5 steps
  device: cpu
  threads: 1
"""

CONVOLUTIONAL = """\
name: gauged
model: {name: resnet, depth: 8, width: 4}
dataset: {name: digits, batch_size: 64}
optimizer: {name: sgd, lr: 0.1, momentum: 0.9}
scheduler: constant
train: {steps: 6, device: cpu, threads: 1, val_rows: 64}
"""

GAUGED = "train.headroom={every: 3 steps}"


def last(events: Iterator[Any]) -> Outcome:
    *_, outcome = events
    assert isinstance(outcome, Outcome)
    return outcome


def trained(folder: Path, text: str, *overrides: str, stop: StopOnSignals | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "c.yaml").write_text(text)
    last(run(load_experiment(folder / "c.yaml", overrides), folder, stop=stop))
    return folder / "gauged-1"


def final_state(path: Path) -> dict[str, Any]:
    content = checkpoint_files.load(path / "checkpoints" / "last.pt")
    return {key: value for key, value in content.items() if key not in ("run", "marks")}


def prepared(text: str, *overrides: str) -> Prepared:
    return prepare(experiment_from_text(text, overrides))


def records(ready: Prepared) -> list[Any]:
    due = Due(ready.experiment.checkpoint, ready.clock.units)
    return list(loop_of(ready, lambda: False, due).records())


def measured(ready: Prepared) -> list[HeadroomRecord]:
    return [each for each in records(ready) if isinstance(each, HeadroomRecord)]


@pytest.mark.parametrize(
    ("optimizer", "torch_optimizer"),
    [
        ("{name: sgd, lr: 0.02}", lambda p: torch.optim.SGD(p, 0.02)),
        ("{name: sgd, lr: 3.0}", lambda p: torch.optim.SGD(p, 3.0)),
        ("{name: sgd, lr: 1e-4, weight_decay: 0.5}", lambda p: torch.optim.SGD(p, 1e-4, 0, 0, 0.5)),
        ("{name: adam, lr: 0.01}", lambda p: torch.optim.Adam(p, 0.01)),
    ],
    ids=["sgd", "far-too-high", "weight-decay", "adam"],
)
def test_the_critical_lr_of_a_quadratic_loss(optimizer: str, torch_optimizer: Any) -> None:
    """L(w + mΔ) = L(w) at m = -2 gᵀΔ / ΔᵀHΔ; under plain SGD this is an LR of 2 gᵀg / gᵀHg."""
    text = QUADRATIC.replace("{name: sgd, lr: 0.02}", optimizer).replace("steps: 12", "steps: 1")
    ready = prepared(text)
    model = copy.deepcopy(ready.trainee.model)
    loop = loop_of(ready, lambda: False, Due(ready.experiment.checkpoint, ready.clock.units))
    ((x, y),), _ = loop.updates.feed.batches(0)
    old = [each.detach().clone() for each in model.parameters()]
    torch.nn.functional.mse_loss(model(x), y.reshape(len(x), 1)).backward()
    gradient = [each.grad.clone() for each in model.parameters()]
    torch_optimizer(model.parameters()).step()
    change = [new.detach() - each for new, each in zip(model.parameters(), old, strict=True)]
    (weight, bias) = change
    curvature = 2 * float((x @ weight.T + bias).square().mean())
    slope = sum(float((g * d).sum()) for g, d in zip(gradient, change, strict=True))
    expected = -2 * slope / curvature
    (record,) = [each for each in loop.records() if isinstance(each, HeadroomRecord)]
    assert 1 / PRECISION <= record.headroom * expected <= PRECISION
    size, moved = (
        float(torch.cat([each.flatten() for each in these]).norm()) for these in (old, change)
    )
    assert record.update_ratio == pytest.approx(moved / size, rel=1e-5)
    assert record.group_ratios == ()


def test_measurements_fall_on_the_steps_asked_for() -> None:
    found = records(prepared(QUADRATIC))
    assert [each.step for each in found if isinstance(each, HeadroomRecord)] == [0, 4, 8]
    lrs = {each.step: each.lr for each in found if isinstance(each, StepRecord)}
    for k, each in enumerate(found):
        if isinstance(each, HeadroomRecord):
            assert each.lr == lrs[each.step]
            assert isinstance(found[k - 1], StepRecord) and found[k - 1].step == each.step


def test_a_measurement_is_handed_out_before_the_loop_is_at_rest() -> None:
    """Else a checkpoint between the two would lose it for a run that is resumed there."""
    ready = prepared(QUADRATIC)
    loop = loop_of(ready, lambda: False, Due(ready.experiment.checkpoint, ready.clock.units))
    for each in loop.records():
        if isinstance(each, StepRecord) and each.step in (0, 4, 8):
            assert not loop.at_rest
        elif isinstance(each, HeadroomRecord):
            assert loop.handed


def test_a_headroom_is_proportional_to_the_lr() -> None:
    (one,), (ten,) = (
        measured(prepared(QUADRATIC, f"optimizer.lr={lr}", "train.steps=1")) for lr in (2e-3, 2e-2)
    )
    assert ten.headroom / one.headroom == pytest.approx(10, rel=PRECISION**2 - 1)
    assert ten.update_ratio / one.update_ratio == pytest.approx(10, rel=1e-4)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (lambda m: -m, math.inf),
        (lambda m: 1.0 + m, 0.0),
        (lambda m: 1.0, math.inf),
        (lambda m: 1.0 + 1e-9 * m if m < 3 else math.nan, 3.0),
        (lambda m: (m - 0.01) ** 2, 0.02),
        (lambda m: (m - 1e3) ** 2, 2e3),
        (lambda m: 0.0 if m <= 1.0 else 1.0, 1.0),
    ],
    ids=["falls", "rises", "flat", "nan", "small", "large", "at-once"],
)
def test_the_search(loss: Any, expected: float) -> None:
    found = critical_multiple(loss, 1e-7)
    assert found == expected or expected / PRECISION <= found <= expected * PRECISION


def test_the_search_takes_few_passes() -> None:
    asked: list[float] = []

    def loss(m: float) -> float:
        asked.append(m)
        return (m - 20) ** 2

    critical_multiple(loss, 1e-7)
    assert asked[:8] == [0, 1, 2, 4, 8, 16, 32, 64] and len(asked) == 8 + BISECTIONS
    asked.clear()
    critical_multiple(lambda m: asked.append(m) or -m, 1e-7)
    assert len(asked) == 2 + DOUBLINGS


@pytest.mark.parametrize("text", [DIGITS, CONVOLUTIONAL], ids=["mlp", "resnet"])
def test_a_gauged_run_is_the_run_itself_bit_for_bit(tmp_path: Path, text: str) -> None:
    """Dropout, accumulation, clipping, a moving average; batch statistics and their buffers."""
    plain = trained(tmp_path / "plain", text)
    gauged = trained(tmp_path / "gauged", text, GAUGED)
    for name in ("epochs.csv", "steps.csv"):
        assert (plain / name).read_bytes() == (gauged / name).read_bytes()
    assert differences(final_state(plain), final_state(gauged)) == []
    assert not (plain / "headroom.csv").exists()
    assert Run.open(plain).headroom["step"].size == 0
    table = Run.open(gauged).headroom
    assert table["step"].tolist() == list(range(0, int(Run.open(gauged).steps["step"][-1]) + 1, 3))
    assert np.all(table["headroom"] > 0) and np.all(table["update_ratio"] > 0)


def test_param_groups_have_ratios_of_their_own(tmp_path: Path) -> None:
    table = Run.open(trained(tmp_path, DIGITS, GAUGED)).headroom
    lrs = [name for name in table if name.startswith("lr/")]
    ratios = [name for name in table if name.startswith("update_ratio/")]
    assert list(table) == ["step", *lrs, "headroom", "update_ratio", *ratios]
    assert len(lrs) == len(ratios) == 2
    low, high = (np.minimum.reduce, np.maximum.reduce)
    each = [table[name] for name in ratios]
    assert np.all((low(each) <= table["update_ratio"]) & (table["update_ratio"] <= high(each)))


class StopAt(StopOnSignals):
    def __init__(self, asked: int) -> None:
        super().__init__()
        self.left = asked

    def requested(self) -> bool:
        self.left -= 1
        return self.left < 0


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return trained(tmp_path_factory.mktemp("straight"), DIGITS, GAUGED)


@pytest.mark.parametrize("stop", [1, 3, 4, 12])
def test_measurements_survive_a_resume(tmp_path: Path, straight: Path, stop: int) -> None:
    path = trained(tmp_path, DIGITS, GAUGED, stop=StopAt(stop))
    assert Run.open(path).status == "interrupted"
    last(resume(path))
    for name in ("headroom.csv", "steps.csv", "epochs.csv"):
        assert (path / name).read_bytes() == (straight / name).read_bytes()


def test_rows_after_the_checkpoint_are_superseded(tmp_path: Path, straight: Path) -> None:
    path = trained(tmp_path, DIGITS, GAUGED, "checkpoint.every=7 steps", stop=StopAt(20))
    (path / "checkpoints" / "last.pt").unlink()
    last(resume(path))
    assert (path / "headroom.csv").read_bytes() == (straight / "headroom.csv").read_bytes()
    assert len((path / "superseded" / "headroom-1.csv").read_text().splitlines()) > 1


def test_measurements_are_verified(tmp_path: Path) -> None:
    path = trained(tmp_path, DIGITS, GAUGED, "checkpoint.every=6 steps")
    (verdict,) = [each for each in verify(path, since=0) if isinstance(each, Verdict)]
    assert verdict.difference is None
    table = (path / "headroom.csv").read_text().splitlines()
    cells = table[2].split(",")
    cells[3] = repr(float(cells[3]) * 2)
    forged = "\n".join([*table[:2], ",".join(cells), *table[3:], ""])
    (path / "headroom.csv").write_text(forged)
    info = dict(Run.open(path).info)
    del info["tables"]
    write_info(path, info)
    (verdict,) = [each for each in verify(path, since=0) if isinstance(each, Verdict)]
    assert verdict.difference is not None
    assert verdict.difference.startswith("headroom.csv: step 3: headroom is ")


def test_a_fork_may_begin_to_measure(tmp_path: Path) -> None:
    path = trained(tmp_path, DIGITS, "checkpoint.every=6 steps")
    last(fork(path, "12", [GAUGED]).events(tmp_path))
    table = Run.open(tmp_path / "gauged-2").headroom
    assert table["step"].tolist() == [12, 15, 18, 21]


def test_an_update_that_changes_nothing_is_not_measured() -> None:
    """The LR of step 0 is 0."""
    ready = prepared(QUADRATIC, "scheduler={name: linear, start: 0, final: 100%}")
    assert [each.step for each in measured(ready)] == [4, 8]


def first_losses(ready: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare L(w), asked for after L(w + Δ), with the losses that were trained."""
    seen: list[float] = []

    def search(loss: Any, _: float) -> float:
        seen.append((loss(1.0), loss(0.0))[1])
        return 1.0

    monkeypatch.setattr(headroom, "critical_multiple", search)
    found = records(ready)
    steps = {each.step for each in found if isinstance(each, HeadroomRecord)}
    losses = [each.loss for each in found if isinstance(each, StepRecord) and each.step in steps]
    assert len(seen) > 1
    np.testing.assert_allclose(seen, losses, rtol=1e-6)


@pytest.mark.parametrize("text", [DIGITS, CONVOLUTIONAL], ids=["dropout", "batch-statistics"])
def test_the_loss_is_the_one_that_was_trained(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first_losses(prepared(text, GAUGED), monkeypatch)


def test_buffers_that_a_pass_reads_are_those_of_the_update(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in spectral normalization: here the outputs grow with the number of passes."""
    ready = prepared(QUADRATIC)
    ready.trainee.model.register_buffer("passes", torch.zeros(()))
    ready.trainee.model.register_forward_hook(
        lambda model, _, outputs: outputs * (1 + 0.1 * model.passes.add_(1))
    )
    first_losses(ready, monkeypatch)


def test_whatever_a_measurement_draws_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = records(prepared(DIGITS))

    def search(*_: Any) -> float:
        return 1.0 + float(torch.rand(())) + np.random.rand()

    monkeypatch.setattr(headroom, "critical_multiple", search)
    gauged = records(prepared(DIGITS, GAUGED))
    losses = [[each.loss for each in of if isinstance(each, StepRecord)] for of in (plain, gauged)]
    assert losses[0] == losses[1]


class Uncopyable(nn.Linear):
    """Like a model that holds a lock, or a file."""

    def __deepcopy__(self, memo: Any) -> Any:
        raise TypeError("not me")


def test_a_model_that_cannot_be_copied_is_refused() -> None:
    ready = prepared(QUADRATIC)
    ready.trainee.model.add_module("odd", Uncopyable(1, 1))
    with pytest.raises(UsageError, match=r"train\.headroom: the model cannot be copied .*not me"):
        records(ready)

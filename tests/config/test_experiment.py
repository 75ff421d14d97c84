"""From a document to an Experiment: every problem at once, each with its place."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lrrun.config.check import check, check_if_known
from lrrun.config.dump import to_yaml
from lrrun.config.experiment import Experiment
from lrrun.config.overrides import apply_overrides, parse_override
from lrrun.config.reading import experiment_from_text, load_experiment, read_experiment
from lrrun.config.yaml_text import parse_document
from lrrun.errors import ConfigError
from lrrun.schedules import build
from lrrun.units import Units

GOOD = """\
name: digits-cosine
model: {name: mlp, hidden: [16]}
dataset: {name: digits, batch_size: 64}
optimizer: {name: sgd, lr: 0.05, momentum: 0.9}
scheduler: {name: cosine, warmup: 5%, final: 1%}
train: {epochs: 30}
"""


def read(text: str, *overrides: str, allow_code: bool = False) -> Experiment:
    document = apply_overrides(parse_document(text, Path("c.yaml")), overrides)
    return read_experiment(document, allow_code)


def problems(text: str, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        experiment = read(text, *overrides)
        check_if_known(experiment)
    return str(caught.value).splitlines()


def test_a_good_config_is_read_and_its_clock_is_known() -> None:
    experiment = read(GOOD)
    clock = check_if_known(experiment)
    assert (experiment.name, experiment.seeds, experiment.base_lr) == ("digits-cosine", (0,), 0.05)
    assert clock is not None
    assert (clock.units.total_steps, clock.units.steps_per_epoch) == (
        690,
        23,
    )  # ceil(1437 / 64) = 23


def test_the_resolved_config_reads_back_as_the_same_experiment() -> None:
    experiment = read(GOOD, "train.evaluate=2 epochs", "train.clip_norm=1")
    again = experiment_from_text(to_yaml(experiment.resolved()))
    assert again.resolved() == experiment.resolved()
    assert again.parts == experiment.parts


def test_all_problems_come_at_once_in_the_order_of_the_file() -> None:
    text = """\
model: {name: mpl, hidden: [16]}
dataset: {name: digits, batch_size: 0}
optimizer: {name: sgd, lr: abc, momentun: 0.9}
scheduler: {name: cosin}
train: {epochs: 0, sed: 1}
extra: 1
"""
    found = problems(text)
    assert [line.split(": ")[:2] for line in found] == [
        ["c.yaml:1", "model.name"],
        ["c.yaml:2", "dataset.batch_size"],
        ["c.yaml:3", "optimizer.lr"],
        ["c.yaml:3", "optimizer.momentun"],
        ["c.yaml:4", "scheduler.name"],
        ["c.yaml:5", "train.epochs"],
        ["c.yaml:5", "train.sed"],
        ["c.yaml:6", "extra"],
    ]
    assert "did you mean mlp?" in found[0]
    assert "expected at least 1, got 0" in found[1]
    assert "got 'abc'" in found[2]
    assert "did you mean momentum?" in found[3]
    assert "did you mean cosine?" in found[4]
    assert "did you mean" in found[6] or "it takes" in found[6]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimizer.lr=-0.1", "optimizer.lr"),
        ("optimizer.lr=0", "optimizer.lr"),
        ("optimizer.lr=.nan", "optimizer.lr"),
        ("optimizer.lr=.inf", "optimizer.lr"),
        ("train.epochs=2.5", "expected a whole number, got 2.5"),
        ("train.epochs=-1", "expected at least 1, got -1"),
        ("train.epochs=100000000000", "expected at most 10,000,000"),
        ("scheduler.warmup=900 steps", "900 steps, the run has 690"),
        ("scheduler.warmup=690", "690 steps, the run has 690"),
        ("scheduler.warmup=0.05", "write 5% (of the run) or 0.05 epochs"),
        ("scheduler.warmup=5M tokens", "this dataset has no tokens"),
        ("scheduler.gamma=0.1", "cosine: unknown key"),
        ("dataset.batch_size=5000", "5000 is more than the 1437 training rows"),
        ("model.hidden=[128, -1]", "model.hidden[1]: expected at least 1, got -1"),
        ("seed=-1", "seed: expected at least 0, got -1"),
        ("seeds=[0, 0]", "a seed stands twice"),
        ("name=../x", "name: expected 1 to 100 letters"),
        ("name=a/b", "name: expected 1 to 100 letters"),
        ("train.precision=fp8", "expected fp32, bf16 or fp16, got 'fp8'"),
        ("train.device=gpu", "train.device"),
        ("train.grad_norm=on", "expected true or false, got 'on'"),
        ("train.early_stopping={patince: 3}", "did you mean patience?"),
        ("model=gpt", "model"),
        ("model.name=os:system", "pass --allow-code if you trust it"),
        ("optimizer.momentum=abc", "optimizer.momentum"),
        ("scheduler=", "scheduler"),
    ],
)
def test_one_wrong_value_one_clear_message(override: str, message: str) -> None:
    found = problems(GOOD, override)
    assert len(found) == 1, found
    assert found[0].startswith(f"command line: {override}: ")
    assert message in found[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty; expected at least model, dataset, optimizer and train"),
        ("# nothing\n", "empty"),
        ("- 1\n", "expected keys and values, got list"),
        ("name: x\n", "model: is missing"),
    ],
)
def test_documents_that_are_no_config(text: str, message: str) -> None:
    assert any(message in line for line in problems(text))


def test_an_import_path_needs_consent_unless_its_library_is_well_known() -> None:
    read(GOOD, "model={name: 'mine:Net', width: 3}", allow_code=True)
    read(GOOD, "optimizer={name: 'torch.optim:SGD', lr: 0.1}")
    assert "would be imported and run" in problems(GOOD, "model={name: 'mine:Net'}")[0]


def test_a_function_of_ones_own_may_be_a_schedule_once_it_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "curves_of_mine.py").write_text("def half(step):\n    return 0.5 ** step\n")
    monkeypatch.setattr("sys.path", [*sys.path])
    file = tmp_path / "c.yaml"
    spec = "{name: lambda, factor: 'curves_of_mine:half'}"
    file.write_text(GOOD.replace("{name: cosine, warmup: 5%, final: 1%}", spec))
    with pytest.raises(ConfigError, match=r"factor: curves_of_mine:half would be"):
        load_experiment(file)
    experiment = load_experiment(file, allow_code=True)
    lr = build(experiment.parts, 0.8, Units(10))
    assert lr([0, 1, 3]).tolist() == [0.8, 0.4, 0.1]
    assert experiment.resolved()["scheduler"]["factor"] == "curves_of_mine:half"
    assert experiment.resolved()["folder"] == str(tmp_path)


def test_the_lr_is_said_once() -> None:
    cycle = "{name: OneCycleLR, max_lr: 0.1, total_steps: 690}"
    assert read(GOOD, "optimizer={name: sgd, momentum: 0.9}", f"scheduler={cycle}").base_lr == 0.1
    assert "disagrees with max_lr: 0.1" in problems(GOOD, f"scheduler={cycle}")[0]
    assert "optimizer.lr: is missing" in problems(GOOD, "optimizer={name: sgd}")[0]
    values = "{name: keras.PiecewiseConstantDecay, boundaries: [9], values: [0.2, 0.1]}"
    assert read(GOOD, "optimizer=sgd", f"scheduler={values}").base_lr == 1.0  # it has its own
    assert "leave lr out" in problems(GOOD, f"scheduler={values}")[0]
    group = "optimizer={name: sgd, groups: [{match: '*', lr_factor: 0.5}]}"
    assert "which no factor changes" in problems(GOOD, group, f"scheduler={cycle}")[0]
    assert "adagrad has none" in problems(GOOD, "optimizer=adagrad", f"scheduler={cycle}")[0]


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("a.b=1", ("a", "b"), 1),
        ("scheduler[1].for=10%", ("scheduler", 1, "for"), "10%"),
        ("model.hidden=[1, 2]", ("model", "hidden"), [1, 2]),
        ("name=a=b", ("name",), "a=b"),
    ],
)
def test_overrides_are_typed_as_yaml(text: str, path: tuple[str], value: object) -> None:
    assert parse_override(text) == (path, value)


@pytest.mark.parametrize("text", ["optimizer.lr", "=1", "a..b=1", "a b=1", "[0]=1"])
def test_overrides_that_are_no_key_value(text: str) -> None:
    assert "expected key=value" in problems(GOOD, text)[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x.y.z=1", "command line: x.y.z=1: x: unknown key"),
        ("optimizer.lr.x=1", "optimizer.lr.x: no key can be set inside optimizer.lr, which is"),
        ("optimizer[0]=1", "optimizer[0]: there is no item 0: optimizer is no list"),
        ("scheduler={name: a, name: b}", "scheduler.name: stands twice"),
        ("scheduler={name:cosine}", "scheduler: expected key: value, got name:cosine; is a space"),
        ("optimizer.lr={", "optimizer.lr: the text ends where a value was expected"),
        ("optimizer.lr=,", "optimizer.lr: expected a value, got ','"),
        ("optimizer.lr=0.1,0.2", "got '0.1,0.2'; several values are for lrrun sweep"),
        ("optimizer.lr=1e-4..1:log:3", "several values are for lrrun sweep"),
        ("seed=0..4", "expected a whole number, got '0..4'; several values are for lrrun sweep"),
        ("optimizer.lr=1e\u22123", "'\u2212' is not a character of a number"),
    ],
)
def test_overrides_that_cannot_be_say_what_was_expected(text: str, message: str) -> None:
    (found,) = problems(GOOD, text)
    assert found.startswith(f"command line: {text}: ") and message in found
    assert "YAML" not in found


def test_an_override_reaches_into_a_bare_name_and_a_list() -> None:
    bare = GOOD.replace("{name: cosine, warmup: 5%, final: 1%}", "cosine")
    assert read(bare, "scheduler.final=10%").scheduler == {"name": "cosine", "final": "10%"}
    listed = GOOD.replace(
        "{name: cosine, warmup: 5%, final: 1%}",
        "[{name: warmup, for: 10}, {name: cosine}]",
    )
    assert read(listed, "scheduler[0].for=20").scheduler[0]["for"] == 20
    assert "there is no item 5" in problems(listed, "scheduler[5].for=20")[0]


def test_a_model_that_cannot_take_the_data_is_refused_before_any_data_is_read() -> None:
    assert "model" in problems(GOOD, "model={name: gpt}")[0]


def test_a_horizon_on_the_command_line_takes_the_place_of_the_one_in_the_file() -> None:
    train = read(GOOD, "train.steps=5").train
    assert (train.steps, train.epochs) == (5, None)
    assert read(GOOD, "seeds=[1, 2]").seeds == (1, 2)
    both = problems(GOOD, "train.steps=5", "train.epochs=1")
    assert "expected one of epochs, steps and tokens, got epochs and steps" in both[0]
    in_file = GOOD.replace("epochs: 30", "epochs: 30, steps: 5")
    assert "got epochs and steps" in problems(in_file)[0]


def test_tokens_and_accumulation_set_the_clock() -> None:
    text = """\
model: {name: gpt, layers: 1, heads: 2, width: 16}
dataset: {name: text, path: corpus.txt, context: 10, batch_size: 4, val_fraction: 0.5}
optimizer: {name: adamw, lr: 0.01}
train: {tokens: 2k, accumulate: 2}
"""
    experiment = read(text)
    facts = experiment.dataset.facts
    from lrrun.config.base import DataFacts

    known = DataFacts(100, 100, "language", (10,), 256, tokens_per_row=10)
    units = check(experiment, known).units
    assert facts is not None
    assert units.steps_per_epoch == 13  # ceil(100 / (4 * 2))
    assert units.total_steps == 26  # 2,000 tokens are two epochs of 1,000

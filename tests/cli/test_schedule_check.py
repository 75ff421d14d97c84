"""`schedule` and `check`: what a person sees before paying for a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lrrun.schedules import schedule

Lrrun = Callable[..., Any]

CONFIG = """\
model: {name: mlp, hidden: [16]}
dataset: {name: digits, batch_size: 64}
optimizer: {name: sgd, lr: 0.05, momentum: 0.9}
scheduler: {name: cosine, warmup: 5%, final: 1%}
train: {epochs: 30}
"""


@pytest.fixture
def config(empty_folder: Path) -> Path:
    file = empty_folder / "c.yaml"
    file.write_text(CONFIG)
    return file


def test_the_table_holds_the_schedules_own_values(lrrun: Lrrun, config: Path) -> None:
    (seen,) = json.loads(lrrun("schedule", config, "--json", "--at", "50%", "--at", "35").out)
    lr = schedule("cosine", lr=0.05, steps=690, warmup="5%", final="1%")(np.arange(690))
    assert seen["lr"] == lr.tolist()
    assert (seen["first"], seen["peak"], seen["last"]) == (lr[0], lr.max(), lr[-1])
    assert seen["sum"] == pytest.approx(lr.sum())
    assert seen["at"] == {"50%": lr[345], "35": lr[35]}
    assert seen["peak_step"] == 35
    assert seen["rising"] == pytest.approx(35 / 690)


def test_csv_holds_every_step(lrrun: Lrrun, config: Path) -> None:
    assert lrrun("schedule", config, "wsd", "--steps", "20", "--csv", "lr.csv").code == 0
    head, *rows = Path("lr.csv").read_text().splitlines()
    assert head == f"step,{config},wsd"
    assert len(rows) == 20
    lr = schedule("wsd", lr=0.05, steps=20)(np.arange(20))
    assert [float(row.split(",")[2]) for row in rows] == lr.tolist()


def test_pictures_are_written(lrrun: Lrrun, empty_folder: Path) -> None:
    assert lrrun("schedule", "cosine", "wsd", "--png", "a.png", "--svg", "a.svg").code == 0
    assert Path("a.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in Path("a.svg").read_text()
    wrong = lrrun("schedule", "cosine", "--png", "a.gif")
    assert wrong.code == 2
    assert "ends in .png or .svg" in wrong.err


def test_a_plateau_is_played_out_under_metrics(lrrun: Lrrun, empty_folder: Path) -> None:
    Path("m.txt").write_text("\n".join(["3", "2", "2", "2", "1", "1", "1", "1", "1", "1"]))
    spec = ["plateau patience=1 factor=0.5", "--steps", "100", "--steps-per-epoch", "10", "--json"]
    (seen,) = json.loads(lrrun("schedule", *spec, "--metrics", "m.txt").out)
    assert seen["lr"] == [1.0] * 40 + [0.5] * 30 + [0.25] * 20 + [0.125] * 10
    (never,) = json.loads(lrrun("schedule", *spec).out)
    assert never["lr"][-1] < seen["lr"][-1]
    Path("m.txt").write_text("3\nx\n")
    wrong = lrrun("schedule", *spec, "--metrics", "m.txt")
    assert (wrong.code, "m.txt:2: expected a number" in wrong.err) == (3, True)


def test_param_groups_with_schedules_of_their_own_are_shown(lrrun: Lrrun, config: Path) -> None:
    text = config.read_text().replace(
        "momentum: 0.9}",
        "momentum: 0.9, groups: [{match: 'head.*', lr_factor: 0.5, scheduler: constant}]}",
    )
    config.write_text(text)
    body, head = json.loads(lrrun("schedule", config, "--json").out)
    assert (body["name"], head["name"]) == (str(config), f"{config} head")
    assert set(head["lr"]) == {0.025}
    assert max(body["lr"]) == 0.05


def test_export_prints_code_that_runs(lrrun: Lrrun, empty_folder: Path) -> None:
    done = lrrun(
        "schedule", "cosine warmup=10%", "--steps", "50", "--lr", "0.2", "--export", "python"
    )
    names: dict[str, Any] = {}
    exec(done.out, names)
    ours = schedule("cosine", lr=0.2, steps=50, warmup="10%")
    assert [names["lr"](step) for step in range(50)] == pytest.approx(
        ours(np.arange(50)).tolist(), rel=1e-12
    )
    assert lrrun("schedule", "plateau", "--export", "torch").code == 2
    assert "did you mean torch?" in lrrun("schedule", "cosine", "--export", "torhc").err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["cosin"], 2, "did you mean cosine?"),
        (["cosine warmup"], 2, "expected key=value such as warmup=5%"),
        (["cosine 'x"], 2, "No closing quotation"),
        (["missing.yaml"], 2, "no such file"),
        (["cosine", "--at", "1000"], 2, "step 1000 is past the last update, 999"),
        (["cosine", "--at", "1M tokens"], 2, "--at 1M tokens"),
        (["StepLR step_size=3"], 2, "give --steps-per-epoch"),
        (["keras.LinearDecay"], 2, "keras.PolynomialDecay with power 1 is a line"),
        (["tf.keras.optimizers.schedules.CosinDecay"], 2, "did you mean keras.CosineDecay?"),
        (["cosine", "--metrics", "none.txt"], 3, "none.txt: cannot be read"),
    ],
)
def test_what_cannot_be_shown(
    lrrun: Lrrun, empty_folder: Path, arguments: list[str], code: int, message: str
) -> None:
    done = lrrun("schedule", *arguments)
    assert done.code == code
    assert message in done.err
    assert "Traceback" not in done.err


def test_check_says_what_the_run_would_be(lrrun: Lrrun, config: Path) -> None:
    facts = json.loads(lrrun("check", config, "--json").out)
    assert facts["ok"] is True
    assert facts["run"] == "690 steps (30 epochs)"
    assert facts["rows"] == "1,437 for training, 360 for validation"
    assert facts["findings"] == []


def test_findings_are_notes_and_errors_under_strict(lrrun: Lrrun, config: Path) -> None:
    bent = "scheduler={name: CosineAnnealingLR, T_max: 15}"
    done = lrrun("check", config, bent)
    assert done.code == 0
    assert "climbs back" in done.out
    strict = lrrun("check", config, bent, "--strict")
    assert strict.code == 2
    assert "climbs back" in strict.err
    trained = lrrun("train", config, bent, "--strict")
    assert trained.code == 2
    assert not Path("runs").exists()
    noted = lrrun("train", config, "scheduler={name: linear, final: 90%}", "train.epochs=1")
    assert noted.code == 0
    assert "note: " in noted.err


def test_one_batch_goes_through_everything(lrrun: Lrrun, config: Path) -> None:
    facts = json.loads(lrrun("check", config, "--batch", "--json").out)
    assert facts["parameters"] == "1,210"
    assert facts["first batch"].startswith("loss 2.")
    assert not Path("runs").exists()


def test_a_mapping_or_a_list_is_read_as_in_a_config(lrrun: Lrrun, empty_folder: Path) -> None:
    texts = ("{name: cosine, warmup: 10%}", "[{name: warmup, for: 10%}, cosine]")
    seen = json.loads(lrrun("schedule", *texts, "cosine warmup=10%", "--json").out)
    assert seen[0]["lr"] == seen[1]["lr"] == seen[2]["lr"]
    assert lrrun("schedule", "[{name: cosine").code == 2


def test_csv_goes_to_standard_output_where_its_name_is_a_dash(
    lrrun: Lrrun, empty_folder: Path
) -> None:
    done = lrrun("schedule", "linear", "--steps", "4", "--csv", "-")
    assert done.out.splitlines() == ["step,lr", "0,1.0", "1,0.75", "2,0.5", "3,0.25"]
    assert not Path("-").exists()


@pytest.mark.parametrize("lr", ["0", "-1", "nan", "inf"])
def test_a_base_lr_that_is_none_is_refused(lrrun: Lrrun, empty_folder: Path, lr: str) -> None:
    refused = lrrun("schedule", "cosine", f"--lr={lr}")
    assert (refused.code, "--lr: expected a finite number above 0" in refused.err) == (2, True)


def test_more_steps_than_can_be_drawn_are_refused(lrrun: Lrrun, empty_folder: Path) -> None:
    refused = lrrun("schedule", "cosine", "--steps", "1000000000")
    assert (refused.code, "100000000" in refused.err) == (2, True)


def test_a_fall_at_few_steps_is_not_none(lrrun: Lrrun, empty_folder: Path) -> None:
    out = lrrun("schedule", "step every=300", "--no-plots").out
    assert out.splitlines()[-1].split()[-2:] == ["0%", "<1%"]


def test_a_long_spec_is_folded_before_a_column_is_left_out(
    lrrun: Lrrun, empty_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    spec = "optax.warmup_cosine_decay_schedule init_value=0 peak_value=1e-3 warmup_steps=100"
    out = lrrun("schedule", f"{spec} decay_steps=1000", "--no-plots").out
    assert "falling" in out.splitlines()[0] and "left out" not in out


def test_code_may_be_had_as_json(lrrun: Lrrun, empty_folder: Path) -> None:
    (found,) = json.loads(lrrun("schedule", "linear", "--export", "python", "--json").out)
    names: dict[str, Any] = {}
    exec(found["code"], names)
    assert (found["name"], names["lr"](0)) == ("linear", 1.0)


def test_check_says_every_problem_as_json(lrrun: Lrrun, config: Path) -> None:
    refused = lrrun("check", config, "train.epochs=0", "model.hiden=3", "--json")
    found = json.loads(refused.out)
    assert (refused.code, found["ok"]) == (2, False)
    assert {each["key"] for each in found["problems"]} == {"train.epochs", "model.hiden"}
    assert all(each["where"].startswith("command line") for each in found["problems"])
    assert "did you mean hidden" in refused.err
    missing = lrrun("check", "none.yaml", "--json")
    assert (missing.code, json.loads(missing.out)["ok"]) == (2, False)


def test_only_what_was_set_is_said_of_an_optimizer(lrrun: Lrrun, config: Path) -> None:
    facts = json.loads(lrrun("check", config, "--json").out)
    assert facts["optimizer"] == "sgd, lr 0.05, momentum 0.9"


def test_a_command_to_paste_is_quoted(lrrun: Lrrun, empty_folder: Path) -> None:
    done = lrrun("init", "digits", "-o", "my config.yaml")
    assert "lrrun check 'my config.yaml', then lrrun train 'my config.yaml'" in done.out


def test_a_schedule_beside_a_config_has_its_run(lrrun: Lrrun, config: Path) -> None:
    ours, theirs = json.loads(lrrun("schedule", "linear", config, "--json").out)
    assert ours["lr"] == schedule("linear", lr=0.05, steps=690)(np.arange(690)).tolist()
    assert len(theirs["lr"]) == 690
    longer, _ = json.loads(lrrun("schedule", "linear", config, "--steps", "9", "--json").out)
    assert (len(longer["lr"]), longer["first"]) == (9, 0.05)


def test_keys_of_a_config_are_set_as_in_train(lrrun: Lrrun, config: Path) -> None:
    words = ("schedule", config, "optimizer.lr=0.2", "scheduler=linear", "train.epochs=2")
    (seen,) = json.loads(lrrun(*words, "--json").out)
    assert seen["lr"] == schedule("linear", lr=0.2, steps=46)(np.arange(46)).tolist()
    refused = lrrun("schedule", "wsd", "optimizer.lr=0.2")
    assert (refused.code, "there is none here" in refused.err) == (2, True)

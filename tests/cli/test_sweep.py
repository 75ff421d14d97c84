"""`lrrun sweep` as a person uses it, and every way to get it wrong."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Lrrun = Callable[..., Any]

CONFIG = """\
name: tiny
model: {name: mlp, hidden: [4]}
dataset: {name: digits, batch_size: 256}
optimizer: {name: sgd, lr: 0.05}
scheduler: {name: cosine, warmup: 1}
train: {steps: 4, device: cpu}
"""

SWEEP = Path("runs/tiny-sweep-1")


@pytest.fixture
def config(empty_folder: Path) -> Path:
    (empty_folder / "c.yaml").write_text(CONFIG)
    return empty_folder / "c.yaml"


def rows(sweep: Path = SWEEP) -> list[dict[str, str]]:
    with (sweep / "trials.csv").open() as table:
        return list(csv.DictReader(table))


def tree(folder: Path) -> list[str]:
    return sorted(str(each) for each in folder.rglob("*"))


def test_a_sweep_leaves_a_row_and_a_run_a_trial(lrrun: Lrrun, config: Path) -> None:
    done = lrrun("sweep", config, "optimizer.lr=0.01,1e9", "scheduler=constant,wsd", "seed=0,1")
    assert done.code == 0, done.err  # trials that diverge are results
    assert "grid of 2 optimizer.lr × 2 scheduler × 2 seed = 8 trials" in done.out
    assert "cost: 32 steps in all, 8 runs of the whole config" in done.out
    assert "trials trained as one: 1 × 8" in done.out
    assert "best val_loss" in done.out
    found = rows()
    assert [row["trial"] for row in found] == [str(k) for k in range(1, 9)]
    assert [row["status"] for row in found] == [
        "completed",
        "completed",
        "diverged",
        "diverged",
    ] * 2
    assert list(found[0]) == [
        "trial",
        "optimizer.lr",
        "scheduler",
        "seed",
        "status",
        "sentence",
        "val_loss",
        "best_val_loss",
        "val_acc",
        "best_val_acc",
        "steps",
        "folder",
    ]
    for row in found:
        info = json.loads((SWEEP / row["folder"] / "run.json").read_text())
        assert info["status"] == row["status"]
        assert info["seed"] == int(row["seed"])
        assert info["config"]["optimizer"]["lr"] == float(row["optimizer.lr"])
        assert info["config"]["scheduler"] == row["scheduler"]
        if row["status"] == "completed":
            assert info["last"]["val_loss"] == float(row["val_loss"])


def test_a_trial_is_the_run_that_train_makes(lrrun: Lrrun, config: Path) -> None:
    lrrun("sweep", config, "optimizer.lr=0.01,0.1", "--no-fuse", "--quiet")
    lrrun("train", config, "optimizer.lr=0.1", "--quiet")
    for name in ("steps.csv", "epochs.csv"):
        one = (SWEEP / "trial-0002-1" / name).read_bytes()
        assert one == Path("runs/tiny-1", name).read_bytes()


def test_a_dry_run_says_what_it_would_cost_and_writes_nothing(lrrun: Lrrun, config: Path) -> None:
    axes = ("optimizer.lr=1e-3..1:log:9", "optimizer.name=sgd,adamw,lbfgs", "--dry-run")
    before = tree(Path())
    done = lrrun("sweep", config, *axes)
    assert done.code == 0, done.err
    assert "grid of 9 optimizer.lr × 3 optimizer.name = 27 trials" in done.out
    assert "cost: 72 steps in all, 18 runs of the whole config" in done.out
    assert "9 trials refused: optimizer.name" in done.out
    assert "keys of their own: optimizer={name: A, ...},{name: B}" in done.out
    assert "one by one on this machine" in done.out
    assert tree(Path()) == before
    data = json.loads(lrrun("sweep", config, *axes, "--json").out)
    assert (data["trials"], data["steps"]) == (27, 72)
    assert data["seconds_one_by_one"] > 0
    assert tree(Path()) == before


def test_what_cannot_be_fused_names_the_key(lrrun: Lrrun, config: Path) -> None:
    done = lrrun("sweep", config, "optimizer.name=sgd,adamw", "seed=0,1", "--dry-run")
    assert "2 groups: trials that differ in optimizer.name cannot be fused" in done.out
    alone = lrrun("sweep", config, "seed=0,1", "train.on_divergence=rewind", "--dry-run")
    assert "2 trials one by one: train.on_divergence" in alone.out


def test_a_combination_that_is_refused_is_a_failed_row_and_exit_code_1(
    lrrun: Lrrun, config: Path
) -> None:
    done = lrrun("sweep", config, "optimizer.name=sgd,adamw", "optimizer.momentum=0.5,0.9")
    assert done.code == 1
    found = rows()
    assert [row["status"] for row in found] == ["completed", "completed", "failed", "failed"]
    assert found[2]["sentence"].startswith("refused: optimizer.momentum: unknown key")
    assert found[2]["folder"] == ""
    assert "2 trials refused" in done.out
    assert not list(SWEEP.glob("trial-0003*"))


def test_the_same_command_does_nothing_twice_and_new_does(lrrun: Lrrun, config: Path) -> None:
    lrrun("sweep", config, "optimizer.lr=0.1,0.2", "--no-fuse", "--quiet")
    before = {
        file: file.stat().st_mtime_ns for file in SWEEP.rglob("*.csv") if "trial-" in str(file)
    }
    done = lrrun("sweep", config, "optimizer.lr=0.1,0.2", "--no-fuse")
    assert "2 trials done before, 0 to go" in done.out
    assert {file: file.stat().st_mtime_ns for file in before} == before
    lrrun("sweep", config, "optimizer.lr=0.1,0.2", "--no-fuse", "--quiet", "--new")
    assert sorted(each.name for each in Path("runs").iterdir()) == ["tiny-sweep-1", "tiny-sweep-2"]


def test_a_budget_of_trials_is_gone_on_with(lrrun: Lrrun, config: Path) -> None:
    axes = ("optimizer.lr=0.1..0.4:lin:4", "--no-fuse")
    done = lrrun("sweep", config, *axes, "--trials", "3")
    assert "3 completed, 1 to go" in done.out
    assert lrrun("sweep", config, *axes).code == 0
    assert len(rows()) == 4
    done = lrrun("sweep", config, *axes, "--minutes", "1e-9", "--new")
    assert "none ended, 4 to go" in done.out


def test_a_finished_sweep_is_widened(lrrun: Lrrun, config: Path) -> None:
    lrrun("sweep", config, "optimizer.lr=0.1,0.2", "seed=0,1", "--no-fuse", "--quiet")
    first = rows()
    extension = ("--extend", "tiny-sweep", "optimizer.lr=0.2..0.4:lin:2", "--no-fuse")
    asked = lrrun("sweep", *extension, "--dry-run")
    assert "4 trials done before, 2 to go" in asked.out
    assert lrrun("sweep", *extension, "--quiet").code == 0
    assert rows()[:4] == first
    assert [(row["optimizer.lr"], row["seed"]) for row in rows()[4:]] == [
        ("0.4", "0"),
        ("0.4", "1"),
    ]
    again = lrrun("sweep", *extension)
    assert "2 trials done before, 0 to go" in again.out
    wrong = lrrun("sweep", "--extend", "tiny-sweep", "optimizer.lrs=1,2")
    assert (wrong.code, "did you mean optimizer.lr?" in wrong.err) == (2, True)


def test_an_identical_run_is_reused_when_asked(lrrun: Lrrun, config: Path) -> None:
    lrrun("train", config, "optimizer.lr=0.1", "--quiet")
    lrrun("sweep", config, "optimizer.lr=0.1,0.2", "--no-fuse", "--quiet", "--reuse")
    assert [row["folder"] for row in rows()] == ["../tiny-1", "trial-0002-1"]
    lrrun("sweep", config, "optimizer.lr=0.2,0.3", "--no-fuse", "--quiet", "--reuse")
    found = rows(Path("runs/tiny-sweep-2"))
    assert [row["folder"] for row in found] == ["../tiny-sweep-1/trial-0002-1", "trial-0002-1"]


def test_a_run_on_data_that_changed_is_not_reused(lrrun: Lrrun, config: Path) -> None:
    table = config.parent / "data.csv"
    table.write_text("x,y\n" + "".join(f"{k / 40},{k / 20}\n" for k in range(40)))
    dataset = "dataset={name: csv, path: data.csv, target: y, task: regression, batch_size: 8}"
    arguments = ("optimizer.lr=0.01,0.02", dataset, "--no-fuse", "--quiet", "--reuse", "--new")
    for reused in (False, True, False):
        assert lrrun("sweep", config, *arguments).code == 0
        newest = max(Path("runs").iterdir(), key=lambda each: each.name)
        assert all(row["folder"].startswith("../") == reused for row in rows(newest))
        if reused:
            table.write_text(table.read_text().replace("0.5,", "0.6,"))


def test_a_section_in_the_config_is_swept_and_the_command_line_wins(
    lrrun: Lrrun, config: Path
) -> None:
    section = "sweep:\n  axes:\n    optimizer.lr: 1e-3..1:log:4\n    seed: 0..2\n  random: 5\n"
    config.write_text(CONFIG + section)
    assert lrrun("check", config).code == 0
    assert "4 points" in lrrun("sweep", config, "--dry-run", "--random", "4", "seed=0,1").out
    assert "= 8 trials" in lrrun("sweep", config, "--dry-run", "--random", "4", "seed=0,1").out
    config.write_text(CONFIG + section + "  halvin: true\n")
    done = lrrun("sweep", config)
    assert "c.yaml:12: sweep.halvin: unknown key; did you mean halving?" in done.err
    config.write_text(CONFIG + "sweep: {axes: {optimizer.lr: 0..1:log:4}}\n")
    assert (
        "c.yaml:7: optimizer.lr: 0..1:log:4: a log range begins above 0"
        in lrrun("sweep", config).err
    )


def test_halving_reports_how_far_its_rungs_agree(lrrun: Lrrun, config: Path) -> None:
    axes = ("optimizer.lr=1e-3..1:log:9", "train.steps=18", "--halving")
    done = lrrun("sweep", config, *axes)
    assert done.code == 0, done.err
    assert "Kendall tau" in done.out
    assert "short runs favour small learning rates" in done.out
    assert [row["rung"] for row in rows()] == ["1"] * 9 + ["2"] * 3 + ["3"] * 2
    configs = [json.loads((SWEEP / row["folder"] / "run.json").read_text()) for row in rows()]
    assert [info["total_steps"] for info in configs] == [2] * 9 + [6] * 3 + [18] * 2
    assert all(info["config"]["scheduler"]["name"] == "cosine" for info in configs)


def test_cooldown_rungs_finish_a_trunk_of_their_own(lrrun: Lrrun, config: Path) -> None:
    axes = ("optimizer.lr=0.01,0.1,1", "train.steps=20", "--halving", "--eta", "2")
    assert (
        lrrun("sweep", config, *axes, "--rungs", "cooldown", "--least", "0.5", "--quiet").code == 0
    )
    first = json.loads((SWEEP / "trial-0001-1" / "run.json").read_text())
    assert first["total_steps"] == 10
    assert first["config"]["scheduler"] == {"name": "wsd", "cooldown": "20%", "warmup": 1}
    with (SWEEP / "trial-0001-1" / "steps.csv").open() as table:
        lrs = [float(row["lr"]) for row in csv.DictReader(table)]
    assert lrs[1:8] == [0.01] * 7
    assert lrs[-1] < 0.01
    last = json.loads((SWEEP / rows()[-1]["folder"] / "run.json").read_text())
    assert (last["total_steps"], last["config"]["scheduler"]["name"]) == (20, "cosine")
    swept = lrrun("sweep", config, "scheduler=cosine,wsd", "--halving", "--rungs", "cooldown")
    assert "cannot compare several" in swept.err


def test_list_show_and_json_know_sweeps(lrrun: Lrrun, config: Path) -> None:
    done = lrrun("sweep", config, "optimizer.lr=0.1,0.2", "--json")
    data = json.loads(done.out)
    assert data["status"] == "completed"
    assert data["counts"] == {"completed": 2}
    assert [each["lr"] for each in data["response"]["curves"][0]["points"]] == [0.1, 0.2]
    assert lrrun("show", "tiny-sweep", "--no-plots", "--png", "curves.svg").code == 0
    assert Path("curves.svg").read_text().count("<svg") == 1
    assert data["best"]["metrics"]["val_loss"] == min(
        trial["metrics"]["val_loss"] for trial in data["trials"]
    )
    assert json.loads(lrrun("show", "tiny-sweep", "--json").out) == data
    assert "best val_loss" in lrrun("show", "runs/tiny-sweep-1", "--no-plots").out
    listed = lrrun("list")
    assert "tiny-sweep-1" in listed.out
    assert "unreadable" not in listed.out
    (listing,) = json.loads(lrrun("list", "--json").out)
    assert (listing["kind"], listing["ended"], listing["total"]) == ("sweep", 2, 2)
    (SWEEP / "sweep.yaml").write_text("a: [")
    assert "tiny-sweep-1: unreadable" in lrrun("list").out
    assert lrrun("show", "tiny-sweep").code == 3


def test_no_finished_trial_is_said(lrrun: Lrrun, config: Path) -> None:
    (config.parent / "broken.py").write_text("def net(a):\n    raise RuntimeError('no net')\n")
    text = CONFIG.replace("{name: mlp, hidden: [4]}", "{name: 'broken:net', a: 1}")
    config.write_text(text)
    done = lrrun("sweep", config, "optimizer.lr=0.1,0.2", "--allow-code")
    assert done.code == 1
    assert "2 trials failed" in done.out
    assert "no net" in rows()[0]["sentence"]
    assert "no trial is finished yet" in done.out
    assert "nan" not in lrrun("list").out
    data = json.loads(lrrun("show", "tiny-sweep", "--json").out)
    assert (data["best"], data["response"]) == (None, None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("c.yaml",), "no axes: no key has more than one value"),
        ((), "expected a config: lrrun sweep CONFIG"),
        (("nope.yaml", "optimizer.lr=1,2"), "nope.yaml: no such file"),
        (("c.yaml", "optimizer.lrr=1,2"), "optimizer.lrr: unknown key; did you mean lr?"),
        (("c.yaml", "optimzer.lr=1,2"), "unknown key; did you mean optimizer?"),
        (("c.yaml", "optimizer.lr=1..0.1:log:3"), "an empty range"),
        (("c.yaml", "optimizer.lr=0..1:log:3"), "0 has no logarithm"),
        (("c.yaml", "optimizer.lr=1e-3..1:log"), "how many values?"),
        (("c.yaml", "scheduler=cosin,wsdd"), "did you mean cosine?"),
        (("c.yaml", "name=a,b"), "name cannot be swept"),
        (("c.yaml", "seeds=1,2"), "write seed=0..4"),
        (("c.yaml", "optimizer.lr=1,2", "optimizer.momentum=2"), "optimizer.momentum"),
        (("c.yaml", "optimizer.lr=1,2", "--random", "3"), "these axes have 2 points"),
        (("c.yaml", "optimizer.lr=1,2", "--tpe", "3"), "these axes have 2 points"),
        (("c.yaml", "optimizer.lr=1,2", "--tpe", "2", "--halving"), "tpe takes whole runs"),
        (("c.yaml", "optimizer.lr=1,2", "--eta", "1"), "--eta: sweep.eta: expected at least 2"),
        (("c.yaml", "optimizer.lr=1,2", "--rungs", "cut"), "rescaled or cooldown"),
        (("c.yaml", "optimizer.lr=1,2", "--processes", "0"), "expected at least 1"),
        (("c.yaml", "optimizer.lr=1,2", "--processes", "2", "--ray"), "one of --processes and"),
        (("c.yaml", "seed=0..99", "optimizer.lr=1e-4..1:log:101"), "10,100 trials"),
        (("--extend", "nope", "optimizer.lr=1"), "no sweep 'nope'"),
        (("c.yaml", "seed=0,1", "seed=2,3"), "command line: seed=2,3: seed: given twice"),
        (("c.yaml", "seed=0,1", "--name", "../x", "--dry-run"), "run name '../x': expected"),
        (("c.yaml", "seed=0,1", "--png", "x.gif"), "ends in .png or .svg"),
        (("c.yaml", "seed=0,1", "--png", "x.png"), "no axis varies optimizer.lr (axes: seed)"),
        (("c.yaml", "model={name: 'json:loads'}", "seed=0,1"), "pass --allow-code"),
    ],
)
def test_bad_input_is_exit_2_and_nothing_written(
    lrrun: Lrrun, config: Path, arguments: tuple[str, ...], message: str
) -> None:
    before = tree(Path())
    done = lrrun("sweep", *arguments)
    assert done.code == 2, done.out
    assert message in done.err
    assert "Traceback" not in done.err
    assert tree(Path()) == before


def test_best_of_k_says_when_results_chose_the_trials(lrrun: Lrrun, config: Path) -> None:
    axis = "optimizer.lr=1e-3..0.1:log:3"
    assert "chosen by results" in lrrun("sweep", config, axis, "--halving", "--least", "0.5").out
    assert "chosen by results" not in lrrun("sweep", config, axis).out


def test_without_optuna_its_extra_is_named(
    lrrun: Lrrun, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    done = lrrun("sweep", config, "optimizer.lr=1e-3..1:log", "--tpe", "3", "--dry-run")
    assert (done.code, 'pip install "lrrun[optuna]"' in done.err) == (5, True)

"""`lrrun train` as a person uses it, and every way to get it wrong."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

CONFIG = """\
name: digits-cosine
model: {name: mlp, hidden: [16]}
dataset: {name: digits, batch_size: 64}
optimizer: {name: sgd, lr: 0.05, momentum: 0.9}
scheduler: {name: cosine, warmup: 5%, final: 1%}
train: {epochs: 2, device: cpu}
"""

Lrrun = Callable[..., Any]


@pytest.fixture
def config(empty_folder: Path) -> Path:
    file = empty_folder / "c.yaml"
    file.write_text(CONFIG)
    return file


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_run_leaves_its_folder_and_says_so(lrrun: Lrrun, config: Path) -> None:
    done = lrrun("train", config)
    assert done.code == 0
    assert "runs/digits-cosine-1: 1,210 parameters, 46 steps (2 epochs), seed 0, cpu" in done.out
    assert "epoch    2  step      46" in done.out
    assert "completed: all 46 steps done" in done.out
    run = Path("runs/digits-cosine-1")
    files = {str(each.relative_to(run)) for each in run.rglob("*") if each.is_file()}
    assert files - {"checkpoints/previous.pt"} == {
        "config.yaml",
        "epochs.csv",
        "steps.csv",
        "timing.csv",
        "run.json",
        "checkpoints/last.pt",
        "checkpoints/best.pt",
    }
    head, first, *_ = (run / "epochs.csv").read_text().splitlines()
    assert head == "epoch,step,samples,lr,train_loss,val_loss,val_acc"
    assert first.startswith("1,23,1437,")
    assert len((run / "steps.csv").read_text().splitlines()) == 1 + 46


def test_the_same_seed_writes_the_same_bytes_and_a_name_is_never_overwritten(
    lrrun: Lrrun, config: Path
) -> None:
    for _ in range(2):
        assert lrrun("train", config, "model.dropout=0.3").code == 0
    assert lrrun("train", config, "model.dropout=0.3", "seed=1").code == 0
    first, second, other = (Path(f"runs/digits-cosine-{n}") for n in (1, 2, 3))
    for name in ("epochs.csv", "steps.csv", "config.yaml"):
        assert (first / name).read_bytes() == (second / name).read_bytes()
    assert (first / "steps.csv").read_bytes() != (other / "steps.csv").read_bytes()


def test_the_resolved_config_trains_again_to_the_same_log(lrrun: Lrrun, config: Path) -> None:
    lrrun("train", config, "optimizer.lr=0.02")
    assert lrrun("train", "runs/digits-cosine-1/config.yaml").code == 0
    one, two = (Path(f"runs/digits-cosine-{n}/steps.csv").read_bytes() for n in (1, 2))
    assert one == two


def test_best_pt_loads_in_plain_torch(lrrun: Lrrun, config: Path) -> None:
    lrrun("train", config)
    best = torch.load("runs/digits-cosine-1/checkpoints/best.pt", weights_only=True)
    model = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(64, 16), torch.nn.ReLU(), torch.nn.Linear(16, 10)
    )
    model.load_state_dict(dict(zip(model.state_dict(), best["model"].values(), strict=True)))
    info = json.loads(Path("runs/digits-cosine-1/run.json").read_text())
    assert best["metrics"]["val_loss"] == info["best"]["val_loss"]["value"]
    assert best["step"] == info["best"]["val_loss"]["step"]


def test_smoke_is_short_and_marked_and_its_schedule_shrinks(lrrun: Lrrun, config: Path) -> None:
    done = lrrun("train", config, "--smoke", "train.epochs=100")
    assert done.code == 0
    run = Path("runs/digits-cosine-smoke-1")
    assert json.loads((run / "run.json").read_text())["smoke"] is True
    lrs = [float(row.split(",")[1]) for row in (run / "steps.csv").read_text().splitlines()[1:]]
    assert len(lrs) == 20
    assert lrs[0] == pytest.approx(0.025)  # 5% of 20 steps: one step of warmup, halfway up
    assert max(lrs) == lrs[1] == pytest.approx(0.05)
    assert lrs[-1] < 0.002


def test_a_seed_group_trains_a_run_a_seed(lrrun: Lrrun, config: Path) -> None:
    done = lrrun("train", config, "seeds=[3, 4]", "train.epochs=1", "--json", "--name", "group")
    runs = json.loads(done.out)
    assert [run["seed"] for run in runs] == [3, 4]
    assert [Path(run["path"]).name for run in runs] == ["group-1", "group-2"]
    assert [run["status"] for run in runs] == ["completed", "completed"]
    assert runs[0]["last"]["val_loss"] != runs[1]["last"]["val_loss"]


def test_quiet_says_nothing(lrrun: Lrrun, config: Path) -> None:
    done = lrrun("train", config, "--quiet", "train.epochs=1")
    assert (done.code, done.out, done.err) == (0, "", "")


def test_divergence_is_exit_code_4_and_keeps_the_last_good_checkpoint(
    lrrun: Lrrun, config: Path
) -> None:
    spike = "scheduler=[{name: constant, for: 1 epochs}, {name: constant, factor: 1e9}]"
    done = lrrun("train", config, spike, "checkpoint.every=1 epochs")
    assert done.code == 4
    info = json.loads(Path("runs/digits-cosine-1/run.json").read_text())
    assert info["status"] == "diverged"
    assert "lr 5e+07" in info["sentence"]
    kept = torch.load("runs/digits-cosine-1/checkpoints/last.pt", weights_only=True)
    assert kept["step"] == 23
    assert all(bool(each.isfinite().all()) for each in kept["model"].values())


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        (None, (), "c.yaml: no such file"),
        ("", (), "c.yaml: empty"),
        ("a:\n\tb: 1\n", (), "c.yaml:2: tab character"),
        (CONFIG + "sede: 1\n", (), "c.yaml:7: sede: unknown key; did you mean seed?"),
        (CONFIG, ("scheduler.name=cosin",), "did you mean cosine?"),
        (CONFIG, ("model.hidden=wide",), "model.hidden: expected a list, got 'wide'"),
        (CONFIG, ("optimizer.lr=abc",), "optimizer.lr: expected a number"),
        (CONFIG, ("optimizer.lr=-1",), "optimizer.lr: "),
        (CONFIG, ("train.epochs=0",), "train.epochs: expected at least 1, got 0"),
        (CONFIG, ("scheduler.warmup=46",), "46 steps, the run has 46"),
        (CONFIG, ("scheduler.warmup=47 steps",), "47 steps, the run has 46"),
        (CONFIG, ("--name", "a/b"), "name: expected 1 to 100 letters"),
        (CONFIG, ("--name", ".."), "name: expected 1 to 100 letters"),
        (CONFIG, ("--allow-code", "model={name: 'no_such:Net'}"), "there is no module 'no_such'"),
        (CONFIG, ("--allow-code", "model={name: 'json:Net'}"), "json has no 'Net'"),
        (CONFIG, ("model={name: 'json:loads'}",), "pass --allow-code"),
        (CONFIG, ("--device", "cuda"), "cuda is not available here"),
        (CONFIG, ("--device", "tpu"), "train.device"),
        (CONFIG, (f"model.hidden={[65536] * 8}",), "model: needs about 361 GB for weights"),
        (CONFIG, ("optimizer.lr",), "expected key=value"),
    ],
)
def test_bad_input_is_one_message_exit_2_and_nothing_written(
    lrrun: Lrrun, empty_folder: Path, text: str | None, arguments: tuple[str, ...], message: str
) -> None:
    if "cuda" in arguments and torch.cuda.is_available():
        pytest.skip("this machine has the device that the test says is absent")
    if text is not None:
        (empty_folder / "c.yaml").write_text(text)
    before = tree(empty_folder)
    done = lrrun("train", "c.yaml", *arguments)
    assert done.code == 2
    assert message in done.err
    assert done.err.startswith("lrrun: ")
    assert "Traceback" not in done.err
    assert done.out == ""
    assert tree(empty_folder) == before
    assert not (empty_folder / "runs").exists()


@pytest.mark.parametrize("path", ["missing.csv", ".", "secret.csv"])
def test_a_data_file_that_cannot_be_used_is_exit_3(
    lrrun: Lrrun, empty_folder: Path, path: str
) -> None:
    (empty_folder / "secret.csv").write_bytes(b"\xff\xfe\x00")
    dataset = f"dataset={{name: csv, path: {path}, target: y, task: regression}}"
    (empty_folder / "c.yaml").write_text(CONFIG)
    done = lrrun("train", "c.yaml", dataset)
    assert done.code == 3
    assert path in done.err
    assert "Traceback" not in done.err
    assert not (empty_folder / "runs").exists()


def test_a_component_of_ones_own_is_found_next_to_the_config(
    lrrun: Lrrun, empty_folder: Path
) -> None:
    folder = empty_folder / "mine"
    folder.mkdir()
    (folder / "nets_of_mine.py").write_text(
        "import torch\n\n"
        "def net(width):\n"
        "    flat = torch.nn.Flatten()\n"
        "    return torch.nn.Sequential(flat, torch.nn.Linear(64, width), torch.nn.Tanh(),\n"
        "                               torch.nn.Linear(width, 10))\n"
    )
    (folder / "c.yaml").write_text(
        CONFIG.replace("{name: mlp, hidden: [16]}", "{name: 'nets_of_mine:net', width: 8}")
    )
    assert lrrun("train", "mine/c.yaml").code == 2
    assert lrrun("train", "mine/c.yaml", "--allow-code").code == 0
    again = lrrun("train", "runs/digits-cosine-1/config.yaml", "--allow-code")
    assert again.code == 0
    wrong = lrrun("train", "mine/c.yaml", "--allow-code", "model.widht=8")
    assert wrong.code == 2
    assert "did you mean width?" in wrong.err


def test_a_signal_ends_the_run_at_its_next_step(empty_folder: Path, config: Path) -> None:
    command = [sys.executable, "-m", "lrrun", "train", str(config), "train.epochs=100000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=empty_folder) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("epoch    3"):
                process.send_signal(signal.SIGTERM)
                break
        rest = process.stdout.read()
        assert process.wait(timeout=60) == 128 + signal.SIGTERM
    assert "interrupted: stopped on request" in rest
    info = json.loads(Path("runs/digits-cosine-1/run.json").read_text())
    kept = torch.load("runs/digits-cosine-1/checkpoints/last.pt", weights_only=True)
    assert (info["status"], info["step"]) == ("interrupted", kept["step"])
    assert kept["step"] > 0


def test_a_loss_that_stays_at_chance_is_stated_by_show(lrrun: Lrrun, config: Path) -> None:
    lrrun("train", config, "optimizer.lr=3", "train.epochs=3", "--quiet")
    assert "note: the loss never left chance" in lrrun("show", "--no-plots").out
    lrrun("train", config, "--quiet")
    assert "note:" not in lrrun("show", "--no-plots").out

"""`latest`, and which verbs a search for a learning rate is no run for."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lrrun.records import Outcome, StepRecord
from lrrun.runlog.reader import Run
from lrrun.runlog.writer import RunWriter

Lrrun = Callable[..., Any]

CONFIG = """\
name: one
model: {name: mlp, hidden: [4]}
dataset: {name: digits, batch_size: 256}
optimizer: {name: sgd, lr: 0.05}
train: {steps: 4, device: cpu}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, then a search, then a sweep, made once."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "c.yaml").write_text(CONFIG)
    quick = ["find", "c.yaml", "--quick", "--steps", "40", "--from", "1e-4"]
    for words in (
        ["train", "c.yaml", "-q"],
        quick,
        ["sweep", "c.yaml", "optimizer.lr=0.1,0.2", "-q"],
    ):
        done = subprocess.run([sys.executable, "-m", "lrrun", *words], cwd=folder, check=False)
        assert done.returncode in (0, 8), words
    return folder


@pytest.fixture
def runs(made: Path, empty_folder: Path) -> Path:
    shutil.copytree(made, empty_folder, dirs_exist_ok=True)
    return empty_folder / "runs"


def test_latest_is_the_newest_of_all_for_reading(lrrun: Lrrun, runs: Path) -> None:
    assert json.loads(lrrun("show", "latest", "--json").out)["name"] == "one-sweep-1"
    shutil.rmtree(runs / "one-sweep-1")
    assert "recommended_lr" in json.loads(lrrun("show", "--json").out)


def test_a_search_is_no_run_to_go_on_with(lrrun: Lrrun, runs: Path) -> None:
    shutil.rmtree(runs / "one-sweep-1")
    before = {p: p.read_bytes() for p in (runs / "one-find-1").rglob("*") if p.is_file()}
    resumed = lrrun("resume")
    assert "runs/one-1: nothing to do" in resumed.err
    for words in (["resume"], ["fork", "--at", "2"], ["verify"]):
        refused = lrrun(words[0], "one-find-1", *words[1:])
        assert refused.code == 2
        assert "is a search for a learning rate, not a run" in refused.err
    after = {p: p.read_bytes() for p in (runs / "one-find-1").rglob("*") if p.is_file()}
    assert after == before


def test_list_sorts_and_limits(lrrun: Lrrun, runs: Path) -> None:
    for lr in ("0.4", "1e-5"):
        assert lrrun("train", "c.yaml", f"optimizer.lr={lr}", "-q").code == 0

    def names(*words: str) -> list[str]:
        return [
            each["name"]
            for each in json.loads(lrrun("list", "--json", *words).out)
            if each["kind"] == "run"
        ]

    assert names() == ["one-1", "one-2", "one-3"]
    losses = {name: Run.open(runs / name).summary.best["val_loss"].value for name in names()}
    assert names("--sort", "val_loss") == sorted(losses, key=lambda name: losses[name])
    accs = {name: Run.open(runs / name).summary.best["val_acc"].value for name in names()}
    assert names("--sort", "val_acc")[0] == max(accs, key=lambda name: accs[name])
    assert names("--last", "2") == ["one-2", "one-3"]
    assert lrrun("list", "--sort", "vall_loss").code == 2
    assert "did you mean val_loss?" in lrrun("list", "--sort", "vall_loss").err


def test_a_run_cut_short_within_an_epoch_keeps_its_steps(lrrun: Lrrun, empty_folder: Path) -> None:
    info = {"config": {"name": "cut"}, "total_steps": 50}
    with RunWriter.create(Path("runs"), "cut", "x: 1\n", ("all",), info) as writer:
        for step in range(7):
            writer.write(StepRecord(step, (0.1,), 2.0))
        writer.finish(Outcome("interrupted", "stopped on request", 7))
    assert Run.open(Path("runs/cut-1")).summary.steps == 7
    said = lrrun("show", "cut-1").out.splitlines()[:3]
    assert said[2] == "7 of 50 steps, none of them in a finished epoch"


def test_seeds_are_told_together(lrrun: Lrrun, runs: Path) -> None:
    out = lrrun("train", "c.yaml", "seeds=[0, 1, 2]").out
    names = ["one-2", "one-3", "one-4"]
    bests = [Run.open(runs / name).summary.best["val_loss"].value for name in names]
    mean, spread = statistics.fmean(bests), statistics.stdev(bests)
    said = f"Best val_loss over 3 seeds: {mean:.4g} ± {spread:.2g} (standard deviation)."
    assert said in out
    compared = " ".join(lrrun("compare", *names, "--no-plots").out.split())
    assert said in compared


def test_a_trial_is_named_by_its_sweep_and_its_folder(lrrun: Lrrun, runs: Path) -> None:
    shown = json.loads(lrrun("show", "one-sweep-1/trial-0001-1", "--json").out)
    assert shown["path"] == str(Path("runs/one-sweep-1/trial-0001-1"))
    assert lrrun("show", "one-sweep-1/trial-0009-1").code == 2


def test_a_key_alone_is_for_the_latest_run(lrrun: Lrrun, runs: Path) -> None:
    shutil.rmtree(runs / "one-sweep-1")
    refused = lrrun("resume", "optimizer.lr=0.9")
    assert "no run" not in refused.err and "one-1" in refused.err


def test_a_run_whose_process_is_gone_is_said_to_be(lrrun: Lrrun, empty_folder: Path) -> None:
    for name in ("gone", "done"):
        info = {"config": {"name": name}, "total_steps": 5}
        with RunWriter.create(Path("runs"), name, "x: 1\n", ("all",), info) as writer:
            writer.write(StepRecord(0, (0.1,), 2.0))
            if name == "done":
                writer.finish(Outcome("completed", "all 5 steps done", 5))
    out = lrrun("compare", "gone", "done", "--no-plots").out
    assert "gone-1 running: its process is gone; lrrun resume goes on with it" in out


def test_compare_passes_over_what_is_no_run(lrrun: Lrrun, runs: Path) -> None:
    assert lrrun("train", "c.yaml", "optimizer.lr=0.2", "-q").code == 0
    done = lrrun("compare", *sorted(map(str, Path("runs").iterdir())), "--no-plots", "--json")
    assert [each["name"] for each in json.loads(done.out)["runs"]] == ["one-2", "one-1"]
    assert "runs/one-sweep-1 is a sweep and was left out" in done.err
    assert "runs/one-find-1 is a search for a learning rate and was left out" in done.err
    assert "got 1" in lrrun("compare", "one-1", "one-find-1").err

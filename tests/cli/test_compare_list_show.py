"""compare, list and show, on run folders written by RunWriter."""

from __future__ import annotations

import gc
import json
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from lrrun.cli.compare import compare
from lrrun.cli.list import list_
from lrrun.cli.show import show
from lrrun.errors import UnusableFile, UsageError
from lrrun.records import EpochRecord, Outcome, StepRecord
from lrrun.runlog.lock import RunLock
from lrrun.runlog.reader import Run
from lrrun.runlog.writer import RunWriter

app = typer.Typer()
app.command("compare")(compare)
app.command("list")(list_)
app.command("show")(show)


def call(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(each) for each in arguments], env={"COLUMNS": "110"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def make(runs: Path, scheduler: str, floor: float, seed: int = 0, epochs: int = 20) -> Path:
    config = {
        "name": scheduler,
        "seed": seed,
        "model": {"name": "mlp", "hidden": [16]},
        "dataset": {"name": "digits"},
        "optimizer": {"name": "sgd", "lr": 0.1},
        "scheduler": {"name": scheduler},
    }
    info = {"config": config, "device": "cpu"}
    names = ("val_loss", "val_acc")
    with RunWriter.create(runs, scheduler, "x: 1\n", ("all",), info, metrics=names) as writer:
        for epoch in range(1, epochs + 1):
            rate = 0.1 / epoch
            for step in range(5 * (epoch - 1), 5 * epoch):
                writer.write(StepRecord(step, (rate,), floor + 2 / (step + 1)))
            scores = {"val_loss": floor + 1 / epoch, "val_acc": 1 - floor - 0.5 / epoch}
            writer.write(
                EpochRecord(epoch, 5 * epoch, 50 * epoch, (rate,), 1 / epoch, scores, seconds=0.25)
            )
        writer.finish(Outcome("completed", "all steps done", 5 * epochs))
    return writer.path


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    make(folder, "step", 0.2)
    make(folder, "cosine", 0.1)
    make(folder, "linear", 0.3)
    return folder


def test_compare_says_what_differs_and_who_is_best(runs: Path) -> None:
    text = call("compare", "step", "cosine-1", runs / "linear-1", "--runs-dir", runs)
    lines = [line.rstrip() for line in text.splitlines()]
    assert lines[0].split() == ["differs", "in", "cosine-1", "step-1", "linear-1"]
    assert lines[2].split() == ["scheduler", "cosine", "step", "linear"]
    assert "optimizer" not in text
    row = next(line for line in lines if line.startswith("1  cosine-1"))
    assert row.split()[2:6] == ["0.1500", "0.1500", "20", "0.005"]
    assert "cosine-1 is best: val_loss 0.15 at epoch 20, 0.1 (40%) below step-1." in lines
    assert any(line.startswith("One seed each") for line in lines)
    assert "learning rate" in text and "1 cosine-1  2 step-1  3 linear-1" in text


def test_compare_without_plots_and_sorted(runs: Path) -> None:
    text = call("compare", "step", "cosine", "--runs-dir", runs, "--no-plots", "--sort", "given")
    assert "learning rate" not in text
    assert text.index("\n2  step-1") < text.index("\n1  cosine-1")


def test_compare_as_json_is_strict(runs: Path) -> None:
    with RunWriter.create(runs, "hot", "x: 1\n", ("all",), {"config": {"seed": 0}}) as writer:
        writer.write(EpochRecord(1, 1, 1, (9.0,), float("nan"), {}))
        writer.finish(Outcome("diverged", "the loss is nan", 1))
    text = call("compare", "hot", "step", "--runs-dir", runs, "--json")
    data = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert (data["metric"], data["ranking"]) == ("val_loss", ["step-1", "hot-1"])
    scheduler = next(each for each in data["differences"] if each["key"] == "scheduler")
    assert scheduler["values"] == {"step-1": {"name": "step"}}
    step = data["runs"][0]
    assert (step["epochs"], step["steps"], step["seconds"]) == (20, 100, 5.0)
    assert step["best"]["val_loss"] == {"value": 0.25, "epoch": 20, "step": 100, "lr": [0.005]}
    assert step["lr_sum"] == pytest.approx(5 * sum(0.1 / epoch for epoch in range(1, 21)))
    assert data["runs"][1]["best"] == {}


@pytest.mark.parametrize("names", [["step"], ["step", "step-1"], ["step", "cosine", "step"]])
def test_compare_needs_two_different_runs(runs: Path, names: list[str]) -> None:
    with pytest.raises(UsageError, match=r"two runs|are one run"):
        call("compare", *names, "--runs-dir", runs)


def test_of_many_runs_the_best_are_shown_and_the_rest_counted(tmp_path, monkeypatch) -> None:
    names = [make(tmp_path, f"s{i}", 0.01 * i, epochs=2).name for i in range(24)]
    read = []
    monkeypatch.setattr(
        "lrrun.runlog.reader.Run.fold_steps",
        lambda run, fold: read.append(run.name) or fold([{"step": np.empty(0)}]),
    )
    text = call("compare", *reversed(names), "--runs-dir", tmp_path)
    assert "s0-1 is best" in text and "\n20  s19-1" in text and "s20-1" not in text
    assert "and 4 more (4 completed); --all shows them" in text
    assert "The curves of the best 8:" in text and "8 s7-1" in text and "9 s8-1" not in text
    assert sorted(read) == sorted(f"s{i}-1" for i in range(20))
    assert "\n24  s23-1" in call("compare", *names, "--runs-dir", tmp_path, "--all")
    read.clear()
    data = json.loads(call("compare", *names, "--runs-dir", tmp_path, "--json"))
    assert data["ranking"] == names and len(data["runs"]) == 24 and len(read) == 20


@pytest.mark.parametrize("verb", [("list",), ("compare", "step", "cosine")])
def test_the_collector_rests_while_runs_are_read(runs: Path, monkeypatch, verb) -> None:
    seen = []
    opened = Run.open
    monkeypatch.setattr(Run, "open", lambda path: seen.append(gc.isenabled()) or opened(path))
    call(*verb, "--runs-dir", runs)
    assert seen and not any(seen) and gc.isenabled()
    with pytest.raises(UsageError):
        call("compare", "step", "--runs-dir", runs)
    assert gc.isenabled()


def test_a_log_without_epochs_is_drawn_from_its_steps(tmp_path, monkeypatch) -> None:
    """In blocks, thinned before it is drawn, and with its one spike."""
    monkeypatch.setattr("lrrun.runlog.table._BLOCK_BYTES", 1000)
    for name in ("long", "other"):
        info = {"config": {"name": name, "seed": 0}}
        with RunWriter.create(tmp_path, name, "x: 1\n", ("all",), info) as writer:
            for step in range(20_000):
                writer.write(StepRecord(step, (0.5,), 9.0 if step == 12_345 else 1.0))
    text = call("compare", "long", "other", "--runs-dir", tmp_path)
    assert "long-1 (training)" in text and "        9┤" in text


def test_runs_of_one_name_are_told_apart_by_path(runs: Path, tmp_path: Path) -> None:
    other = make(tmp_path / "other", "step", 0.4, seed=1)
    text = call("compare", "step", other, "--runs-dir", runs, "--json")
    assert set(json.loads(text)["ranking"]) == {str(runs / "step-1"), str(other)}


def test_a_broken_row_stops_compare_but_not_list(runs: Path) -> None:
    with (runs / "step-1" / "epochs.csv").open("a") as file:
        file.write("x,1\n")
    with pytest.raises(UnusableFile, match=r"epochs.csv:22: expected 7 cells"):
        call("compare", "step", "cosine", "--runs-dir", runs)
    assert "step-1" in call("list", "--runs-dir", runs)


def test_list_shows_every_run_and_names_the_broken(runs: Path) -> None:
    (runs / "bad-1").mkdir()
    (runs / "bad-1" / "run.json").write_text("{")
    text = call("list", "--runs-dir", runs)
    assert [text.index(name) for name in ("step-1", "cosine-1", "linear-1", "bad-1")] == sorted(
        text.index(name) for name in ("step-1", "cosine-1", "linear-1", "bad-1")
    )
    row = next(line for line in text.splitlines() if line.startswith("cosine-1"))
    assert row.split()[:8] == [
        *("cosine-1", "completed", "mlp", "digits", "sgd", "cosine", "0.1500", "0.8750")
    ]
    assert "bad-1: unreadable:" in text and "run.json:1" in text


def test_list_as_json(runs: Path) -> None:
    (runs / "bad-1").mkdir()
    data = json.loads(call("list", "--runs-dir", runs, "--json"))
    assert [each["name"] for each in data] == ["step-1", "cosine-1", "linear-1", "bad-1"]
    assert data[1]["config"]["scheduler"] == {"name": "cosine"}
    assert data[3]["status"] == "unreadable"
    assert {each["kind"] for each in data} == {"run"}


def test_an_empty_list_names_the_next_command(tmp_path: Path) -> None:
    assert "`lrrun train CONFIG` makes one" in call("list", "--runs-dir", tmp_path / "none")
    assert json.loads(call("list", "--runs-dir", tmp_path / "none", "--json")) == []
    assert not (tmp_path / "none").exists()


def test_show_explains_a_run(runs: Path) -> None:
    text = call("show", "cosine", "--runs-dir", runs)
    lines = [line.rstrip() for line in text.splitlines()]
    assert lines[:3] == [
        "cosine-1  completed",
        "all steps done",
        "20 epochs, 100 steps, 1,000 samples in 5.0 s",
    ]
    assert "best val_loss 0.1500 at epoch 20 (step 100, lr 0.005), last 0.1500" in lines
    assert "optimizer  sgd, lr 0.1" in lines
    epochs = [line.split()[0] for line in lines if line[:5].strip().isdigit() or "..." in line]
    assert epochs[:13] == [*"123456", "...", "15", "16", "17", "18", "19", "20"]
    assert "learning rate" in text and "steps.csv" in text


def test_show_takes_the_latest(runs: Path) -> None:
    assert call("show", "--runs-dir", runs, "--no-plots").startswith("linear-1")


def test_show_of_a_run_without_epochs(runs: Path) -> None:
    with RunWriter.create(runs, "young", "x: 1\n", ("all",), {"config": {"seed": 0}}):
        text = call("show", "young", "--runs-dir", runs)
        assert "no epochs yet" in text and "young-1  running\nstill running" in text


def test_a_run_whose_process_is_gone_does_not_look_running(runs: Path) -> None:
    """Its lock file names a process of this machine that has ended; it is looked at, no more."""
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], stdout=-1)
    with RunWriter.create(runs, "dead", "x: 1\n", ("all",), {"config": {"seed": 0}}) as writer:
        lock = writer.path / "lock"
        assert "dead-1    running" in call("list", "--runs-dir", runs)
        lock.write_text(f"process {int(ended.stdout)} on {socket.gethostname()}\n")
        before = (lock.read_text(), lock.stat().st_mtime_ns)
        assert "dead-1    stopped?" in call("list", "--runs-dir", runs)
        assert "`lrrun resume dead-1` goes on" in call("show", "dead", "--runs-dir", runs)
        data = json.loads(call("list", "--runs-dir", runs, "--json"))
        assert (data[-1]["status"], data[-1]["abandoned"]) == ("running", True)
        assert (lock.read_text(), lock.stat().st_mtime_ns) == before
        lock.write_text(f"process {int(ended.stdout)} on another-machine\n")
        assert "dead-1    running" in call("list", "--runs-dir", runs)
    assert not lock.exists()
    assert "stopped?" in call("list", "--runs-dir", runs)


def test_a_search_whose_range_test_is_over_runs_as_long_as_somebody_has_its_folder(
    tmp_path: Path,
) -> None:
    """The search holds its folder while it confirms; nothing but find.json says that it is done."""

    def status() -> str:
        (found,) = json.loads(call("list", "--runs-dir", tmp_path, "--json"))
        return found["status"]

    info = {"config": {"seed": 0}, "range_test": {"quick": False}}
    for name, ended, then in (("a", "diverged", "stopped?"), ("b", "interrupted", "interrupted")):
        with RunWriter.create(tmp_path, name, "x: 1\n", ("all",), info) as writer:
            assert status() == "running"
            writer.finish(Outcome(ended, "the loss is nan", 1))
        with RunLock(writer.path):
            assert status() == "running"
        assert status() == then
        shutil.rmtree(writer.path)


def test_show_as_json(runs: Path) -> None:
    data = json.loads(call("show", "cosine", "--runs-dir", runs, "--json"))
    assert (data["name"], data["status"], data["table"]["epoch"][-1]) == (
        "cosine-1",
        "completed",
        20,
    )
    assert set(data["files"]) == {
        *("config.yaml", "run.json", "epochs.csv", "steps.csv", "timing.csv")
    }


def test_reading_commands_never_write(runs: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("*")}
    call("compare", "step", "cosine", "--runs-dir", runs)
    call("list", "--runs-dir", runs)
    call("show", "--runs-dir", runs)
    assert {path: path.stat().st_mtime_ns for path in runs.rglob("*")} == before


def test_no_torch_and_little_else_at_import(runs: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from lrrun.cli import compare, list, show\n"
        "assert not {'numpy', 'rich.console', 'pydantic'} & set(sys.modules)\n"
        f"compare.compare(['step', 'cosine'], runs_dir=Path({str(runs)!r}))\n"
        f"show.show('step', runs_dir=Path({str(runs)!r}))\n"
        "assert not {'torch', 'pydantic', 'matplotlib', 'yaml'} & set(sys.modules)\n"
        "assert not [name for name in sys.modules if name.startswith('lrrun.search')]\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

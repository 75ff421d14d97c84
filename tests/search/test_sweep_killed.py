"""A sweep that is killed, for real, and typed again: nothing lost, nothing repeated, all equal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Lrrun = Callable[..., Any]


def trials(sweep: Path) -> dict[str, str]:
    """Trial → its row."""
    lines = (sweep / "trials.csv").read_text().splitlines()[1:]
    return {line.partition(",")[0]: line for line in lines}


def made(sweep: Path) -> dict[str, tuple[str, str]]:
    """Folder of a trial → the id of the run in it and when it was made."""
    infos = {f.parent.name: json.loads(f.read_text()) for f in sweep.glob("trial-*/run.json")}
    return {name: (info["id"], info["created"]) for name, info in infos.items()}


def test_a_trial_that_is_killed_while_it_trains_is_gone_on_with(lrrun: Lrrun, deadly: Path) -> None:
    axes = ("model.at=0,8", "optimizer.lr=0.1,0.2", "--no-fuse", "--allow-code", "--quiet")
    command = [sys.executable, "-m", "lrrun", "sweep", str(deadly), *axes]
    done = subprocess.run(command, cwd=deadly.parent, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    sweep = Path("runs/tiny-sweep-1")
    before, rows = made(sweep), trials(sweep)
    assert list(rows) == ["1", "2"]
    assert "trial-0003-1" in before
    assert lrrun("sweep", deadly, *axes).code == 0
    assert len(trials(sweep)) == 4
    assert {**made(sweep), **before} == made(sweep)  # the killed trial went on in its own folder
    info = json.loads((sweep / "trial-0003-1" / "run.json").read_text())
    assert info["resumed"][0]["step"] > 0
    assert {**trials(sweep), **rows} == trials(sweep)
    assert lrrun("sweep", deadly, *axes, "--new").code == 0  # the flag is there: nobody dies
    other = Path("runs/tiny-sweep-2")
    assert (sweep / "trials.csv").read_bytes() == (other / "trials.csv").read_bytes()
    for name in ("steps.csv", "epochs.csv"):
        for folder in made(sweep):
            assert (sweep / folder / name).read_bytes() == (other / folder / name).read_bytes()


@pytest.mark.parametrize("workers", [(), ("--processes", "2")], ids=["fused", "processes"])
def test_kill_9_in_the_middle_of_a_chunk(lrrun: Lrrun, config: Path, workers: Any) -> None:
    axes = ("optimizer.lr=1e-3..1e4:log:8", "train.steps=800", "train.log_every=100")
    arguments = [str(config), *axes, *workers, "--quiet"]
    command = [sys.executable, "-m", "lrrun", "sweep", *arguments]
    table = config.parent / "runs" / "tiny-sweep-1" / "trials.csv"
    with subprocess.Popen(command, cwd=config.parent) as process:
        while process.poll() is None:
            if table.exists() and len(table.read_text().splitlines()) > 1:
                os.kill(process.pid, signal.SIGKILL)
                break
            time.sleep(0.05)
        assert process.wait() == -signal.SIGKILL
    sweep = table.parent
    before, rows = made(sweep), trials(sweep)
    assert 0 < len(rows) < 8
    finished = {row.rpartition(",")[2] for row in rows.values()}
    time.sleep(1)  # orphaned workers, if there are any, notice
    assert lrrun("sweep", *arguments).code == 0
    again = made(sweep)
    assert len(trials(sweep)) == 8
    assert {name: again[name] for name in finished} == {name: before[name] for name in finished}
    assert len(again) == 8
    assert lrrun("sweep", *arguments, "--new").code == 0
    assert table.read_bytes() == Path("runs/tiny-sweep-2/trials.csv").read_bytes()


def test_ctrl_c_stops_at_the_next_step_and_resume_goes_on(lrrun: Lrrun, config: Path) -> None:
    axes = ("optimizer.lr=0.1,0.2,0.3", "train.steps=3000", "--no-fuse")
    command = [sys.executable, "-m", "lrrun", "sweep", str(config), *axes]
    with subprocess.Popen(command, cwd=config.parent, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "1/3 trial 1" in line:
                process.send_signal(signal.SIGINT)
                break
        rest = process.stdout.read()
        assert process.wait(timeout=60) == 128 + signal.SIGINT
    assert "lrrun resume runs/tiny-sweep-1" in rest
    assert "unfinished" in lrrun("list").out
    assert lrrun("resume", "tiny-sweep", "--quiet").code == 0
    assert [row.split(",")[2] for row in trials(Path("runs/tiny-sweep-1")).values()] == [
        "completed"
    ] * 3
    assert lrrun("list").out.count("done") == 1


def test_a_run_that_ended_before_its_row_was_written_is_not_made_again(
    lrrun: Lrrun, config: Path
) -> None:
    command = ("sweep", config, "optimizer.lr=0.1,0.2", "--no-fuse", "--quiet")
    lrrun(*command)
    sweep = Path("runs/tiny-sweep-1")
    before, table = made(sweep), (sweep / "trials.csv").read_text()
    (sweep / "trials.csv").write_text("".join(table.splitlines(keepends=True)[:2]))
    assert lrrun(*command).code == 0
    assert (made(sweep), (sweep / "trials.csv").read_text()) == (before, table)

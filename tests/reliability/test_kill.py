"""kill -9, a few times: the short form of benchmarks/reliability/kills.py, and signals that ask."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "reliability" / "kills.py"

SLOW = """\
name: slow
model: {name: mlp, hidden: [8]}
dataset: {name: digits, batch_size: 64}
optimizer: {name: sgd, lr: 0.05}
train: {steps: 1000000, evaluate: 100 steps, device: cpu, threads: 1}
"""

SLOW_EVALUATION = """\
import time
from torch import nn
class Slow(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    def forward(self, x):
        if not self.training:
            print("evaluating", flush=True)
            time.sleep(0.5)
        return self.layers(x)
"""

SLOW_MODEL = ("--allow-code", "model={name: 'slow_model:Slow'}", "train.evaluate=3 steps")


@pytest.fixture
def kills(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("kills", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "kills", module)  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the harness forks")
def test_six_kills_end_in_six_runs_that_are_the_straight_one(
    kills: ModuleType, tmp_path: Path
) -> None:
    kills.CONFIG = kills.CONFIG.replace("steps: 60", "steps: 24")
    tally = kills.torture(tmp_path, kills=6, seed=3)
    assert tally.kills["at a time"] + tally.kills["at an operation"] >= 6
    assert tally.kills["at an operation"] >= 2
    assert any(step > 0 for step in tally.resumed_from)
    assert tally.different == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the harness forks")
def test_the_harness_sees_a_run_that_ended_differently(
    kills: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the generators' state every resume with dropout takes another way."""
    from lrrun.training import state

    monkeypatch.setattr(state, "restore_chance", lambda *_: None)
    kills.CONFIG = kills.CONFIG.replace("steps: 60", "steps: 24")
    work = kills.Torture(tmp_path, seed=3)
    work.trial(1)
    assert work.tally.resumed_from and max(work.tally.resumed_from) > 0
    assert any("steps.csv" in each for each in work.tally.different)


def started(empty_folder: Path, text: str, *arguments: str) -> subprocess.Popen[str]:
    (empty_folder / "c.yaml").write_text(text)
    command = [sys.executable, "-u", "-m", "lrrun", "train", "c.yaml", *arguments]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=empty_folder
    )


def wait_for(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if text in line:
            return
    raise AssertionError(f"{text!r} never came")


@pytest.mark.parametrize("name", ["SIGINT", "SIGUSR1"])
def test_a_signal_ends_a_run_with_a_checkpoint_from_which_it_resumes(
    lrrun: Callable[..., Any], empty_folder: Path, name: str
) -> None:
    number = getattr(signal, name)
    with started(empty_folder, SLOW) as process:
        wait_for(process, "epoch    2")
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert "interrupted: stopped on request" in out
    assert "Traceback" not in err
    info = json.loads(Path("runs/slow-1/run.json").read_text())
    assert info["status"] == "interrupted"
    assert lrrun("verify", "slow", "--from", 0).code == 0


def test_a_signal_during_an_evaluation_does_not_wait_for_its_end(empty_folder: Path) -> None:
    (empty_folder / "slow_model.py").write_text(SLOW_EVALUATION)
    text = SLOW.replace("batch_size: 64", "batch_size: 8")
    with started(empty_folder, text, *SLOW_MODEL) as process:
        wait_for(process, "evaluating")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 143
    info = json.loads(Path("runs/slow-1/run.json").read_text())
    assert (info["status"], info["step"]) == ("interrupted", 3)


def test_a_second_ctrl_c_ends_it_at_once(empty_folder: Path) -> None:
    (empty_folder / "slow_model.py").write_text(SLOW_EVALUATION.replace("0.5", "60"))
    with started(empty_folder, SLOW, *SLOW_MODEL) as process:
        wait_for(process, "evaluating")
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=0.5)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert process.returncode == 130


def test_a_second_process_is_told_who_has_the_run(
    lrrun: Callable[..., Any], empty_folder: Path
) -> None:
    with started(empty_folder, SLOW) as process:
        wait_for(process, "epoch    1")
        refused = lrrun("resume", "slow")
        process.kill()
        process.communicate()
    assert refused.code == 6
    assert f"process {process.pid}" in refused.err
    done = lrrun("resume", "slow", "--json", "train.steps=5")
    assert done.code == 2

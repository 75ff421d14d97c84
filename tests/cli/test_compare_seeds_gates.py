"""compare of seed groups, and its gates: the table, the curves, JSON and exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lrrun.records import EpochRecord, Outcome, StepRecord
from lrrun.runlog.reader import Run
from lrrun.runlog.writer import RunWriter

Lrrun = Callable[..., Any]


def make(
    name: str, seed: int, loss: float, scheduler="cosine", folder="runs", lr=0.1, status="completed"
) -> Path:
    """A run of six steps in three epochs; with each epoch the loss falls by 1."""
    config = {"name": name, "seed": seed, "scheduler": {"name": scheduler}}
    runs = Path(folder)
    with RunWriter.create(
        runs, name, "x: 1\n", ("all",), {"config": config}, metrics=("val_loss",)
    ) as writer:
        for epoch in range(1, 4):
            for step in (2 * epoch - 2, 2 * epoch - 1):
                writer.write(StepRecord(step, (lr / (step + 1),), 1.0))
            scores = {"val_loss": loss + 3 - epoch}
            writer.write(EpochRecord(epoch, 2 * epoch, 20 * epoch, (lr,), 1.0, scores, seconds=0.1))
        writer.finish(Outcome(status, "all 6 steps done", 6))
    return writer.path


@pytest.fixture
def groups(empty_folder: Path) -> None:
    for seed, (loss, gap) in enumerate([(0.5, 0.19), (0.9, 0.2), (0.7, 0.21)]):
        make("cosine", seed, loss)
        make("step", seed, loss + gap, "step")


EVERY = ("cosine-1", "cosine-2", "cosine-3", "step-1", "step-2", "step-3")


@pytest.mark.usefixtures("groups")
def test_a_row_a_group(lrrun: Lrrun) -> None:
    done = lrrun("compare", *EVERY)
    lines = [line.split() for line in done.out.splitlines()]
    assert lines[0] == ["differs", "in", "cosine", "step"]
    assert ["scheduler", "cosine", "step"] in lines and "seed " not in done.out
    first = next(line for line in lines if line[:2] == ["1", "cosine"])
    second = next(line for line in lines if line[:2] == ["2", "step"])
    assert first[2:7] == ["3", "0.7000", "±", "0.50", "-"]
    assert second[2:9] == ["3", "0.9000", "±", "0.51", "+0.2", "±", "0.025"]
    assert "\ncosine is better: mean val_loss 0.7, 0.2 (22%) below step.\n" in done.out
    assert "0.175 to 0.225 (paired over 3 seeds)" in done.out
    assert "6 runs in 2 groups; --all shows each run" in done.out
    assert "val_loss, mean over seeds and its 95% band" in done.out and "░" in done.out
    assert "1 cosine  2 step" in done.out and "cosine-1" not in done.out
    everything = lrrun("compare", *EVERY, "--all", "--no-plots", "--sort", "given").out
    assert all(name in everything for name in EVERY)


@pytest.mark.usefixtures("groups")
def test_many_runs_are_told_apart_without_their_steps(lrrun: Lrrun, monkeypatch) -> None:
    read = []
    fold = Run.fold_steps
    monkeypatch.setattr(Run, "fold_steps", lambda run, f: read.append(run.name) or fold(run, f))
    assert lrrun("compare", *EVERY, "--no-plots", "--gate", "val_loss<=2").code == 0
    assert read == []
    lrrun("compare", *EVERY)
    assert sorted(read) == ["cosine-1", "step-1"]  # for the LR curves


@pytest.mark.usefixtures("groups")
def test_the_groups_and_gates_as_json(lrrun: Lrrun) -> None:
    done = lrrun("compare", *EVERY, "--json", "--gate", "val_loss <= 0.9", "--gate=val_loss<9")
    data = json.loads(done.out)
    assert done.code == 7
    best, other = data["groups"]
    assert (best["group"], best["runs"], best["seeds"]) == ("cosine", list(EVERY[:3]), 3)
    assert best["best"]["val_loss"]["mean"] == pytest.approx(0.7)
    assert best["to_best"] is None and other["to_best"]["test"] == "paired"
    assert other["to_best"]["value"] == pytest.approx(0.2)
    assert data["verdict"].startswith("cosine is better")
    assert [(each["gate"], each["of"], each["met"]) for each in data["gates"]] == [
        ("val_loss <= 0.9", "cosine", False),
        ("val_loss <= 0.9", "step", False),
        ("val_loss<9", "cosine", True),
        ("val_loss<9", "step", True),
    ]


@pytest.mark.usefixtures("groups")
def test_gates_of_one_run(lrrun: Lrrun) -> None:
    done = lrrun("compare", "cosine-1", "--gate", "val_loss<=0.5", "--no-plots")
    assert (done.code, done.err) == (0, "")
    assert "gate 'val_loss<=0.5' met: cosine-1 has val_loss 0.5" in done.out
    done = lrrun("compare", "cosine-1", "--gate", "val_loss<=0.4", "--gate", "val_loss<0.5")
    assert done.code == 7
    assert done.err.splitlines() == [
        "lrrun: gate 'val_loss<=0.4' not met: cosine-1 has val_loss 0.5",
        "lrrun: gate 'val_loss<0.5' not met: cosine-1 has val_loss 0.5",
    ]


@pytest.mark.usefixtures("groups")
def test_gates_against_a_baseline(lrrun: Lrrun) -> None:
    """One config before and after a change: in folders of their own, or under another name."""
    for seed, loss in enumerate([0.5, 0.9, 0.7]):
        make("cosine", seed, loss + 0.005, folder="before")
        make("new", seed, loss - 0.005)
    gate = ("--gate", "val_loss <= baseline + 1%", "--gate", "lr", "--no-plots")
    three = [f"--baseline=before/cosine-{k}" for k in (1, 2, 3)]
    for words in (
        ["--baseline=before"],
        ["--baseline=before/cosine-*"],
        ["--baseline=cosine-*"],
        three,
    ):
        done = lrrun("compare", "new-1", "new-2", "new-3", *words, *gate)
        assert done.code == 0, done.err
        assert "gate 'lr' met: new has the LRs of the baseline, bit for bit" in done.out
        assert "cosine (baseline)" in done.out
    worse = lrrun("compare", *EVERY[3:], "--baseline", "cosine-*", *gate)
    assert worse.code == 7 and "gate 'lr' met" in worse.out
    assert worse.err.startswith("lrrun: gate 'val_loss <= baseline + 1%' not met: step has val_")
    assert "asked <= 0.707" in worse.err


@pytest.mark.usefixtures("groups")
def test_a_schedule_that_changed_is_caught(lrrun: Lrrun) -> None:
    other = make("changed", 0, 0.5, lr=0.1 + 1e-16)
    done = lrrun("compare", other, "--baseline", "cosine-1", "--gate", "lr", "--no-plots")
    assert done.code == 7
    assert "not met: changed-1 has lr 0.1000000000000001 at step 0, the base" in done.err


@pytest.mark.usefixtures("groups")
def test_a_run_that_diverged_is_not_met(lrrun: Lrrun) -> None:
    lost = make("hot", 0, 0.1, status="diverged")
    done = lrrun("compare", lost, "--gate", "val_loss<=9", "--no-plots", "--json")
    assert done.code == 7 and json.loads(done.out)["gates"][0]["met"] is False
    assert done.err == "lrrun: gate 'val_loss<=9' not met: not completed: hot-1 diverged\n"


@pytest.mark.usefixtures("groups")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--gate", "val_loss=<1"], "expected a condition such as"),
        (["--gate", "val_los<=1"], "did you mean val_loss"),
        (["--gate", "lr"], "--baseline RUN says which runs that is"),
        (["--gate", "lr", "--baseline", "x*"], "no run is called so"),
        (["--gate", "lr", "--baseline", "cosine-1"], "a run beside those of the baseline"),
        ([], "compare needs two runs or more, got 1"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_asked(lrrun: Lrrun, words: list[str], message: str) -> None:
    done = lrrun("compare", "cosine-1", *words)
    assert done.code == 2 and message in done.err and done.out == ""


@pytest.mark.usefixtures("groups")
def test_an_ascii_stream_gets_a_table_that_lines_up(capfd) -> None:
    words = [sys.executable, "-m", "lrrun", "compare", *EVERY, "--no-plots"]
    subprocess.run(words, env={**os.environ, "PYTHONIOENCODING": "ascii"}, check=True)
    rows = [line for line in capfd.readouterr().out.splitlines() if line[:3] in ("1  ", "2  ")]
    assert len({row.index("+- 0.5") for row in rows}) == 1


@pytest.mark.usefixtures("groups")
def test_the_band_is_drawn(lrrun: Lrrun, monkeypatch) -> None:
    axes = pytest.importorskip("matplotlib.axes").Axes
    bands, fill = [], axes.fill_between
    monkeypatch.setattr(
        axes, "fill_between", lambda self, *xs, **how: bands.append(xs) or fill(self, *xs, **how)
    )
    assert lrrun("compare", *EVERY, "--no-plots", "--png", "a.png").code == 0
    x, low, high = bands[0]
    half = 4.302653 * 0.2 / 3**0.5
    assert x.tolist() == [2, 4, 6] and Path("a.png").read_bytes()[:4] == b"\x89PNG"
    assert low.tolist() == pytest.approx([each - half for each in (2.7, 1.7, 0.7)])
    assert high.tolist() == pytest.approx([each + half for each in (2.7, 1.7, 0.7)])

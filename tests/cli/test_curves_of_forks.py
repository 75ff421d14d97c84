"""compare and show draw what forks share with their trunk, once; compare draws pictures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from lrrun.analysis.course import follow
from lrrun.cli.compare import compare
from lrrun.cli.run_curves import RunCurves
from lrrun.cli.show import show
from lrrun.errors import EnvironmentFault, UsageError
from lrrun.records import EpochRecord, Outcome, StepRecord
from lrrun.runlog.reader import Run
from lrrun.runlog.writer import RunWriter

app = typer.Typer()
app.command("compare")(compare)
app.command("show")(show)

PER_EPOCH = 10


def call(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(each) for each in arguments], env={"COLUMNS": "110"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


def make(runs: Path, name: str, epochs: range, lr: float, of: Run | None = None) -> Run:
    """A run of the epochs (from 0) in `epochs`, forked from the run `of` at their beginning."""
    info: dict[str, object] = {"config": {"name": name, "seed": 0, "scheduler": name}}
    if of is not None:
        step = PER_EPOCH * epochs.start
        info["parent"] = {"run": of.name, "id": of.info["id"], "step": step}
    with RunWriter.create(runs, name, "x: 1\n", ("all",), info, metrics=("val_loss",)) as writer:
        for epoch in epochs:
            first = PER_EPOCH * epoch
            for step in range(first, first + PER_EPOCH):
                writer.write(StepRecord(step, (lr,), 2 / (step + 1)))
            done, loss = first + PER_EPOCH, 20 / (epoch + 1) ** 2
            scores = {"val_loss": loss}
            writer.write(EpochRecord(epoch + 1, done, done, (lr,), loss, scores))
        writer.finish(Outcome("completed", "done", PER_EPOCH * epochs.stop))
    return Run.open(writer.path)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    trunk = make(folder, "trunk", range(8), 0.1)
    make(folder, "early", range(4, 8), 0.02, trunk)
    make(folder, "late", range(6, 8), 0.01, trunk)
    return folder


def curves_of(runs: Path, *names: str) -> RunCurves:
    opened = [Run.open(runs / name) for name in names]
    drawn = [(run.name, run, run.fold_steps(follow)) for run in opened]
    return RunCurves.of_several(drawn, "val_loss")


def test_two_forks_without_their_trunk_show_what_they_share_once(runs: Path) -> None:
    curves = curves_of(runs, "early-1", "late-1")
    labels = ["early-1", "late-1", "trunk-1 to step 60"]
    assert [curve.label for curve in curves.losses] == labels
    assert [curve.label for curve in curves.lrs] == labels
    assert curves.losses[2].x.tolist() == [10, 20, 30, 40, 50, 60]
    np.testing.assert_array_equal(curves.lrs[2].x, np.arange(60))
    assert set(curves.lrs[2].y) == {0.1}
    assert [curve.later for curve in curves.losses] == [True, True, False]
    text = call("compare", "early", "late", "--runs-dir", runs)
    assert text.count("3 trunk-1 to step 60") == 2 and "not beside it" not in text


def test_a_trunk_that_is_compared_is_not_drawn_twice(runs: Path) -> None:
    curves = curves_of(runs, "early-1", "trunk-1")
    assert [curve.label for curve in curves.losses] == ["early-1", "trunk-1"]


def test_a_trunk_is_not_cut_at_what_its_forks_begin_with(runs: Path) -> None:
    """It begins at 20, and the forks at 0.8: no run has blown up."""
    assert "cut at" not in call("compare", "early", "late", "--runs-dir", runs)
    assert "cut at" not in call("compare", "early", "trunk", "--runs-dir", runs)


def test_show_of_a_fork_begins_with_its_trunk(runs: Path) -> None:
    text = call("show", "early", "--runs-dir", runs)
    assert "3 val_loss of trunk-1 to step 40  4 train_loss of trunk-1 to step 40" in text
    assert "1 lr  2 lr of trunk-1 to step 40" in text


@pytest.mark.parametrize("verb", [("compare", "early", "late"), ("show", "late")])
def test_a_trunk_that_is_gone_is_said(runs: Path, verb: tuple[str, ...]) -> None:
    shutil.rmtree(runs / "trunk-1")
    text = call(*verb, "--runs-dir", runs)
    assert "late-1 was forked from trunk-1, which is not beside it: its first 60 steps" in text
    assert "not beside it" not in call(*verb, "--runs-dir", runs, "--no-plots")


def test_compare_draws_a_picture(runs: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "curves.svg"
    text = call("compare", "early", "late", "--runs-dir", runs, "--png", picture, "--json")
    assert json.loads(text)["ranking"]
    drawn = picture.read_text("utf-8")
    assert drawn.count("<!-- trunk-1 to step 60 -->") == 1 and "<!-- learning rate -->" in drawn


def test_a_picture_that_cannot_be_written_is_refused_first(runs: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    with pytest.raises(UsageError, match=r"ends in \.png or \.svg"):
        call("compare", "nobody", "late", "--runs-dir", runs, "--png", tmp_path / "a.gif")
    with pytest.raises(EnvironmentFault, match="No such file"):
        call("compare", "nobody", "late", "--runs-dir", runs, "--png", tmp_path / "x" / "a.png")

"""What RunWriter writes is what design.md says, and what Run reads back."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import numpy as np
import pytest

from lrrun.errors import UnusableFile, UsageError
from lrrun.records import EpochRecord, Outcome, StepBlock, StepRecord
from lrrun.runlog.info import read_info, write_info
from lrrun.runlog.reader import BrokenRun, Run, find_run, list_runs
from lrrun.runlog.table import read_blocks, read_table
from lrrun.runlog.writer import RunWriter

CONFIG = {"name": "a", "seed": 0, "optimizer": {"name": "sgd", "lr": 0.1}}


def make(runs: Path, name: str = "a", groups: tuple[str, ...] = ("all",), **options) -> RunWriter:
    options.setdefault("metrics", ("val_loss", "val_acc"))
    return RunWriter.create(runs, name, f"name: {name}\n", groups, {"config": CONFIG}, **options)


def epoch(number: int, **changes) -> EpochRecord:
    values = {
        "epoch": number,
        "step": 10 * number,
        "samples": 100 * number,
        "lr": (0.1 / number,),
        "train_loss": 1.0 / number,
        "metrics": {"val_loss": 2.0 / number, "val_acc": 1 - 1.0 / number},
        "seconds": 0.5,
        "samples_per_second": 200.0,
    }
    return EpochRecord(**(values | changes))


def finished(runs: Path, name: str = "a", epochs: int = 3) -> Path:
    with make(runs, name) as writer:
        for number in range(1, epochs + 1):
            writer.write(epoch(number))
        writer.finish(Outcome("completed", "all steps done", 10 * epochs))
    return writer.path


def killed(runs: Path, epochs: int = 3) -> Path:
    """A run whose process has died."""
    writer = make(runs)
    for number in range(1, epochs + 1):
        writer.write(epoch(number))
    writer.close()
    return writer.path


def test_the_files_byte_for_byte(tmp_path: Path) -> None:
    with make(tmp_path) as writer:
        writer.write(StepRecord(0, (0.1,), 2.5))
        writer.write(StepRecord(1, (1e-05,), float("nan")))
        writer.write(epoch(1, metrics={"val_acc": 0.5}, train_loss=1 / 3))
        writer.finish(Outcome("diverged", "the loss is nan", 1))
    assert writer.path == tmp_path / "a-1"
    assert (writer.path / "config.yaml").read_text() == "name: a\n"
    assert (writer.path / "steps.csv").read_text() == "step,lr,loss\n0,0.1,2.5\n1,1e-05,nan\n"
    assert (writer.path / "epochs.csv").read_text() == (
        "epoch,step,samples,lr,train_loss,val_loss,val_acc\n1,10,100,0.1,0.3333333333333333,,0.5\n"
    )
    assert (writer.path / "timing.csv").read_text() == (
        "epoch,step,seconds,samples_per_second\n1,10,0.5,200.0\n"
    )
    info = json.loads((writer.path / "run.json").read_text())
    assert (info["status"], info["sentence"], info["step"]) == ("diverged", "the loss is nan", 1)
    assert info["best"]["val_acc"] == {"value": 0.5, "epoch": 1, "step": 10, "lr": [0.1]}
    assert "val_loss" not in info["best"]
    assert (writer.checkpoints.is_dir(), writer.checkpoints.name) == (True, "checkpoints")


def test_several_groups_and_optional_columns(tmp_path: Path) -> None:
    with make(tmp_path, groups=("body", "head"), grad_norm=True, driven=("momentum",)) as writer:
        writer.write(StepRecord(0, (0.1, 0.2), 1.0, grad_norm=3.0, driven=(0.9,)))
        writer.write(epoch(1, lr=(0.1, 0.2), grad_norm=4.0))
    steps = (writer.path / "steps.csv").read_text().splitlines()
    assert steps == ["step,lr/body,lr/head,loss,momentum,grad_norm", "0,0.1,0.2,1.0,0.9,3.0"]
    header = (writer.path / "epochs.csv").read_text().splitlines()[0]
    assert header == "epoch,step,samples,lr/body,lr/head,train_loss,val_loss,val_acc,grad_norm"
    assert Run.open(writer.path).summary.best["val_loss"].lr == (0.1, 0.2)


def test_every_float_reads_back_as_itself(tmp_path: Path) -> None:
    losses = [0.1 + 0.2, 5e-324, 1.7976931348623157e308, -0.0, 1 / 3, math.inf]
    with make(tmp_path) as writer:
        for step, loss in enumerate(losses):
            writer.write(StepRecord(step, (np.float64(0.1),), loss))
    read = Run.open(writer.path).steps
    assert read["loss"].tolist() == losses
    assert read["lr"].tolist() == [0.1] * len(losses)


class Clock:
    """A monotonic clock that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    return clock


def test_steps_wait_for_the_epoch_or_a_block(tmp_path: Path, clock: Clock) -> None:
    with make(tmp_path) as writer:
        file = writer.path / "steps.csv"
        for step in range(10):
            writer.write(StepRecord(step, (0.1,), 1.0))
        assert len(file.read_text().splitlines()) == 1
        writer.write(epoch(1))
        assert len(file.read_text().splitlines()) == 11
        for step in range(10, 10 + 512):
            writer.write(StepRecord(step, (0.1,), 1.0))
        assert len(file.read_text().splitlines()) == 11 + 512
        writer.write(StepRecord(522, (0.1,), 1.0))
    assert len(file.read_text().splitlines()) == 12 + 512


@pytest.mark.parametrize("block", [False, True], ids=["rows", "blocks"])
def test_steps_wait_for_a_second_at_most(tmp_path: Path, clock: Clock, block: bool) -> None:
    def add(writer: RunWriter, step: int) -> int:
        if block:
            writer.write_steps(StepBlock(step, ([0.1],), [1.0], None, ()))
        else:
            writer.write(StepRecord(step, (0.1,), 1.0))
        return len((writer.path / "steps.csv").read_text().splitlines()) - 1

    with make(tmp_path) as writer:
        assert add(writer, 0) == 0
        clock.now += 0.9
        assert add(writer, 1) == 0
        clock.now += 0.2
        assert add(writer, 2) == 3
        clock.now += 0.9  # since the last rows were written
        assert add(writer, 3) == 3
        writer.write(epoch(1))
        clock.now += 0.9
        assert add(writer, 5) == 4
        clock.now += 0.2
        assert add(writer, 6) == 6


def test_when_rows_are_written_changes_no_byte(tmp_path: Path, clock: Clock) -> None:
    for name, seconds in (("a", 0.0), ("b", 0.4), ("c", 5.0)):
        with make(tmp_path, name) as writer:
            for number in range(1, 4):
                for step in range(10 * number - 10, 10 * number):
                    writer.write(StepRecord(step, (0.1,), 1 / (step + 1)))
                    clock.now += seconds
                writer.write(epoch(number))
    for table in ("steps.csv", "epochs.csv"):
        assert len({(tmp_path / f"{name}-1" / table).read_bytes() for name in "abc"}) == 1


def test_a_growing_run_can_be_read(tmp_path: Path) -> None:
    with make(tmp_path) as writer:
        run = Run.open(writer.path)
        assert (run.status, run.epochs["step"].size, run.summary.metric) == ("running", 0, None)
        writer.write(epoch(1))
        writer.write(epoch(2))
        again = Run.open(writer.path)
    assert again.summary.best["val_loss"].value == 1.0
    assert (again.summary.epochs, again.summary.steps, again.summary.samples) == (2, 20, 200)
    assert again.summary.seconds == 1.0


def test_run_json_and_tables_tell_the_same(tmp_path: Path) -> None:
    run = Run.open(finished(tmp_path))
    from_json = run.summary
    info = {key: value for key, value in run.info.items() if key != "best"}
    assert Run(run.path, info).summary == from_json
    assert from_json.best["val_loss"].epoch == 3
    assert from_json.best["val_acc"].value == pytest.approx(2 / 3)


def test_notes_are_kept_to_the_end(tmp_path: Path) -> None:
    with make(tmp_path) as writer:
        writer.note(parent="b-1")
        assert Run.open(writer.path).info["parent"] == "b-1"
        writer.finish(Outcome("interrupted", "stopped", 0), {"seconds": 7.5})
    run = Run.open(writer.path)
    assert (run.info["parent"], run.status, run.summary.seconds) == ("b-1", "interrupted", 7.5)


def test_what_does_not_fit_the_columns_is_refused(tmp_path: Path) -> None:
    with make(tmp_path) as writer:
        with pytest.raises(ValueError, match="1 learning rates, got 2"):
            writer.write(StepRecord(0, (0.1, 0.2), 1.0))
        with pytest.raises(ValueError, match="val_f1"):
            writer.write(epoch(1, metrics={"val_f1": 0.5}))


@pytest.mark.parametrize("groups", [("a,b", "c"), ("a\nb", "c"), ("a", "a")])
def test_names_that_cannot_be_columns_leave_nothing_behind(tmp_path: Path, groups) -> None:
    with pytest.raises(UsageError, match="column"):
        make(tmp_path / "runs", groups=groups)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", ["=1+1", "@cmd", "+1", "-1", "a\x9bm", "a\u202eb", "1", ""])
def test_no_column_is_a_formula_or_hides_its_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"column .* a letter first"):
        make(tmp_path / "runs", metrics=(name,))


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    path = killed(tmp_path)
    whole = Run.open(path).epochs
    with (path / "epochs.csv").open("a") as file:
        file.write("4,40,400,0.02")
    run = Run.open(path)
    assert {name: values.tolist() for name, values in run.epochs.items()} == {
        name: values.tolist() for name, values in whole.items()
    }
    assert run.torn == ("epochs.csv",)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("4,40,400,0.02,1,1,x", r"epochs.csv:5: expected a number, got 'x'"),
        ("4,40,400,0.02,1,1", r"epochs.csv:5: expected 7 cells, got 6"),
        ("", r"epochs.csv:5: expected 7 cells, got 1"),
        ("4,40,400,0.02,1,1,0 1", r"epochs.csv:5: expected a number"),
        ("3,30,400,0.02,1,1,1", r"epochs.csv:5: step 30 follows step 30"),
        ("4,20,400,0.02,1,1,1", r"epochs.csv:5: step 20 follows step 30"),
        (",,,,,,", r"epochs.csv:5: epoch: expected a whole number, got nan"),
        ("epoch,step,samples,lr,train_loss,val_loss,val_acc", r"epochs.csv:5: expected a number"),
    ],
)
def test_a_broken_row_is_named_by_its_line(tmp_path: Path, row: str, message: str) -> None:
    path = finished(tmp_path)
    with (path / "epochs.csv").open("a") as file:
        file.write(row + "\n5,50,500,0.02,1,1,1\n")
    with pytest.raises(UnusableFile, match=message):
        _ = Run.open(path).epochs


def test_a_new_epoch_may_repeat_a_step(tmp_path: Path) -> None:
    with make(tmp_path) as writer:
        writer.write(epoch(1))
        writer.write(epoch(2, step=10, train_loss=float("nan"), metrics={}))
        writer.finish(Outcome("diverged", "the loss is nan", 10))
    assert Run.open(writer.path).epochs["step"].tolist() == [10, 10]


@pytest.mark.parametrize("content", [None, "", "epoch,step,samples,lr"])
def test_no_epochs_yet(tmp_path: Path, content: str | None) -> None:
    path = killed(tmp_path)
    (path / "epochs.csv").unlink()
    if content is not None:
        (path / "epochs.csv").write_text(content)
    assert Run.open(path).epochs["step"].size == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "missing"),
        ("", "run.json:1: not readable"),
        ('{"schema_version": 1,\n', "run.json:2: not readable"),
        ("[]", "expected a JSON object, got list"),
        ("\xff\xfe", "not readable"),
        ("[" * 100_000, "not readable"),
        ('{"schema_version": 99}', "written by a newer lrrun"),
        ('{"schema_version": "1"}', "schema_version: expected a number"),
        ('{"schema_version": 1, "status": "fine"}', "status: got 'fine'"),
        ('{"schema_version": 1, "status": "failed"}', "config: missing"),
    ],
)
def test_a_broken_run_never_hides_the_others(tmp_path: Path, content, message: str) -> None:
    good, bad = finished(tmp_path, "good"), finished(tmp_path, "bad")
    (bad / "run.json").unlink()
    if content is not None:
        (bad / "run.json").write_text(content, encoding="latin-1")
    first, second = list_runs(tmp_path)
    assert isinstance(first, Run) and first.path == good
    assert isinstance(second, BrokenRun) and message in second.problem
    with pytest.raises(UnusableFile, match=message):
        Run.open(bad)
    assert find_run("latest", tmp_path) == good


def test_a_summary_of_wrong_types_is_named(tmp_path: Path) -> None:
    path = finished(tmp_path)
    write_info(path, read_info(path) | {"best": {"val_loss": 3}})
    with pytest.raises(UnusableFile, match=r"run\.json:1: not a summary"):
        _ = Run.open(path).summary


def test_strays_and_links_are_passed_over(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    outside = finished(tmp_path / "elsewhere")
    run = finished(runs)
    (runs / "linked-1").symlink_to(outside)
    (runs / ".DS_Store").write_text("")
    (runs / "notes.txt~").write_text("")
    (runs / "plots").mkdir()
    (runs / ".hidden-1").mkdir()
    assert [each.path for each in list_runs(runs)] == [run]
    with pytest.raises(UnusableFile, match="is a link"):
        find_run("linked-1", runs)
    (run / "epochs.csv").unlink()
    (run / "epochs.csv").symlink_to(outside / "epochs.csv")
    with pytest.raises(UnusableFile, match="it is a link"):
        _ = Run.open(run).epochs


def test_order_is_by_creation_not_by_file_times(tmp_path: Path) -> None:
    import os

    paths = [finished(tmp_path, name) for name in ("z", "m", "a")]
    for age, path in enumerate(paths):
        os.utime(path, (1000 - age, 1000 - age))
        os.utime(path / "run.json", (1000 - age, 1000 - age))
    assert [each.path for each in list_runs(tmp_path)] == paths
    assert find_run("latest", tmp_path) == paths[-1]


def test_a_moved_run_still_works(tmp_path: Path) -> None:
    path = finished(tmp_path / "runs")
    moved = path.rename(tmp_path / "kept")
    run = Run.open(find_run(str(moved), tmp_path / "runs"))
    assert (run.name, run.summary.steps) == ("kept", 30)


def test_large_tables_cross_block_borders(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("lrrun.runlog.table._BLOCK_BYTES", 97)
    path = tmp_path / "steps.csv"
    values = [1 / (i + 3) for i in range(500)]
    text = "step,loss\n" + "".join(f"{i},{v!r}\r\n" for i, v in enumerate(values))
    path.write_text(text)
    assert read_table(path, ("step",)).columns["loss"].tolist() == values
    blocks = list(read_blocks(path, ("step",)))
    assert len(blocks) > 100 and max(block.columns["step"].size for block in blocks) < 97 / 4
    path.write_text(text.replace("\n400,", "\n4x0,"))
    with pytest.raises(UnusableFile, match=r"steps\.csv:402"):
        read_table(path, ("step",))


@pytest.mark.parametrize("block_bytes", [8, 20, 1 << 20])
def test_steps_must_grow_across_block_borders(tmp_path: Path, monkeypatch, block_bytes) -> None:
    monkeypatch.setattr("lrrun.runlog.table._BLOCK_BYTES", block_bytes)
    path = tmp_path / "epochs.csv"
    path.write_text("epoch,step\n1,10\n2,20\n3,20\n3,20\n")
    with pytest.raises(UnusableFile, match=r"epochs\.csv:5: step 20 follows step 20"):
        read_table(path, ("epoch", "step"))
    path.write_text("epoch,step\n1,10\n2,20\n3,9\n")
    with pytest.raises(UnusableFile, match=r"epochs\.csv:4: step 9 follows step 20"):
        read_table(path, ("epoch", "step"))


NUMBERS = [*("0.1", "-0.0", "5e-324", "1.7976931348623157e+308", "12345678901234567", "1E5")]


@pytest.mark.parametrize("large", [0, 1 << 30], ids=["in a large file", "in a small file"])
def test_both_number_readers_agree_with_float(tmp_path: Path, monkeypatch, large: int) -> None:
    monkeypatch.setattr("lrrun.runlog.table._LARGE_BYTES", large)
    path = tmp_path / "steps.csv"
    cells = [*NUMBERS, "nan", "inf", "-inf", "", ""]
    path.write_text("step," + ",".join(f"c{i}" for i in range(len(cells))) + "\n")
    with path.open("a") as file:
        file.writelines(f"{step}," + ",".join(cells) + "\n" for step in range(3))
    columns = read_table(path, ("step",)).columns
    for i, cell in enumerate(cells):
        np.testing.assert_array_equal(columns[f"c{i}"], [float(cell or "nan")] * 3)
    assert math.copysign(1, columns["c1"][0]) == -1
    for wrong in ("0x10", "1_0", "1e", "nan1", "fin", "--1", "1.2.3", " 1", "null", "[1]", "\x00"):
        path.write_text(f"step,loss\n0,1.5\n1,{wrong}\n2,1.5\n")
        with pytest.raises(UnusableFile, match=r"steps\.csv:3: expected a number, got"):
            read_table(path, ("step",))


def test_steps_are_folded_block_by_block_and_again_after_a_resume(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("lrrun.runlog.table._BLOCK_BYTES", 40)
    with make(tmp_path) as writer:
        for step in range(100):
            writer.write(StepRecord(step, (0.5,), 1.0))
        writer.finish(Outcome("completed", "all steps done", 100))
    run = Run.open(writer.path)
    sizes = run.fold_steps(lambda blocks: [block["step"].size for block in blocks])
    assert sum(sizes) == 100 and max(sizes) < 10
    with (writer.path / "steps.csv").open("a") as file:
        file.write("100,0.5,1.0\n")
    with pytest.raises(UnusableFile, match="bytes more than the run wrote"):
        run.fold_steps(list)
    write_info(writer.path, {**read_info(writer.path), "status": "running"})
    assert sum(run.fold_steps(lambda blocks: [block["step"].size for block in blocks])) == 101

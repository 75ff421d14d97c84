"""A run that goes on from a checkpoint: its tables end as if it had never stopped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lrrun.errors import RunBusy, UnusableFile
from lrrun.records import EpochRecord, Outcome, StepRecord
from lrrun.runlog.info import read_info
from lrrun.runlog.lock import RunLock
from lrrun.runlog.reader import Run
from lrrun.runlog.writer import RunWriter

TABLES = ("epochs.csv", "steps.csv", "timing.csv")
STEPS_PER_EPOCH = 4


def log(writer: RunWriter, first: int, last: int) -> None:
    """Write what the steps first..last-1 write, with an epoch every four of them."""
    for step in range(first, last):
        writer.write(StepRecord(step, (0.1 / (step + 1),), 1 / (step + 3)))
        if (step + 1) % STEPS_PER_EPOCH == 0:
            epoch = (step + 1) // STEPS_PER_EPOCH
            metrics = {"val_loss": 1 / (step + 2)}
            writer.write(
                EpochRecord(epoch, step + 1, 8 * (step + 1), (0.1 / (step + 1),), 0.5, metrics)
            )


def begun(runs: Path) -> RunWriter:
    return RunWriter.create(runs, "a", "x: 1\n", ("all",), {"config": {}}, metrics=("val_loss",))


def reopened(path: Path, step: int, marks: Any, **options: Any) -> RunWriter:
    return RunWriter.reopen(path, step, marks, ("all",), **{"metrics": ("val_loss",), **options})


def end(writer: RunWriter, step: int) -> dict[str, bytes]:
    writer.finish(Outcome("completed", "all steps done", step))
    return tables(writer.path)


def tables(path: Path) -> dict[str, bytes]:
    return {name: (path / name).read_bytes() for name in TABLES}


@pytest.fixture
def straight(tmp_path: Path) -> dict[str, bytes]:
    writer = begun(tmp_path / "straight")
    log(writer, 0, 12)
    return end(writer, 12)


@pytest.mark.parametrize("checkpoint", range(1, 12))
@pytest.mark.parametrize("stop", [5, 8, 12])
def test_stopped_and_continued_is_byte_for_byte_the_straight_run(
    tmp_path: Path, straight: dict[str, bytes], checkpoint: int, stop: int
) -> None:
    writer = begun(tmp_path)
    log(writer, 0, checkpoint)
    marks = json.loads(json.dumps(writer.sync()))
    log(writer, checkpoint, stop)
    writer.close()
    logged = tables(writer.path)
    again = reopened(writer.path, checkpoint, marks)
    cut = tables(writer.path)
    assert all(logged[name].startswith(cut[name]) for name in TABLES)
    for name in TABLES:  # what was cut is kept: nothing is lost, nothing is there twice
        kept = writer.path / "superseded" / f"{name.removesuffix('.csv')}-1.csv"
        header = logged[name].splitlines(keepends=True)[0]
        rest = logged[name][len(cut[name]) :]
        assert kept.exists() == bool(rest)
        assert not rest or kept.read_bytes() == header + rest
    log(again, checkpoint, 12)
    assert end(again, 12) == straight
    run = Run.open(writer.path)
    assert [each["step"] for each in run.info["resumed"]] == [checkpoint]
    assert (run.status, run.summary.steps, run.torn) == ("completed", 12, ())


def test_without_a_checkpoint_it_starts_again(tmp_path: Path, straight: dict[str, bytes]) -> None:
    writer = begun(tmp_path)
    log(writer, 0, 6)
    writer.close()
    again = reopened(writer.path, 0, None)
    log(again, 0, 12)
    assert end(again, 12) == straight
    assert len((writer.path / "superseded" / "steps-1.csv").read_text().splitlines()) == 1 + 6


def test_a_torn_last_line_is_repaired(tmp_path: Path, straight: dict[str, bytes]) -> None:
    writer = begun(tmp_path)
    log(writer, 0, 8)
    marks = writer.sync()
    writer.close()
    with (writer.path / "steps.csv").open("a") as file:
        file.write("8,0.011")
    again = reopened(writer.path, 8, marks)
    log(again, 8, 12)
    assert end(again, 12) == straight
    kept = (writer.path / "superseded" / "steps-1.csv").read_text()
    assert kept == "step,lr,loss\n8,0.011"
    assert not (writer.path / "superseded" / "epochs-1.csv").exists()


def test_every_continuation_keeps_its_own_rows(tmp_path: Path, straight: dict[str, bytes]) -> None:
    writer = begun(tmp_path)
    log(writer, 0, 4)
    marks = writer.sync()
    for stop in (6, 9, 9, 12):  # the second 9 leaves the rows that the first one left
        log(writer, 4, stop)
        writer.close()
        writer = reopened(writer.path, 4, marks)
    log(writer, 4, 12)
    assert end(writer, 12) == straight
    kept = sorted(each.name for each in (writer.path / "superseded").glob("steps-*"))
    assert kept == ["steps-1.csv", "steps-2.csv", "steps-3.csv"]


def _drop(path: Path) -> None:
    path.unlink()


def _shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize(
    ("damage", "message"), [(_drop, "missing"), (_shorten, "cut short"), (_flip, "changed")]
)
def test_a_table_that_is_not_as_it_was_stops_it_and_nothing_is_written(
    tmp_path: Path, name: str, damage: Any, message: str
) -> None:
    writer = begun(tmp_path)
    log(writer, 0, 8)
    marks = writer.sync()
    writer.close()
    damage(writer.path / name)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(UnusableFile, match=f"{name}: {message}"):
        reopened(writer.path, 8, marks)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_other_columns_are_refused(tmp_path: Path) -> None:
    writer = begun(tmp_path)
    marks = writer.sync()
    writer.close()
    with pytest.raises(UnusableFile, match=r"epochs.csv:1: its columns are not those"):
        reopened(writer.path, 0, marks, metrics=("val_acc",))
    with pytest.raises(UnusableFile, match="does not say where it ended"):
        reopened(writer.path, 0, {**marks, "epochs.csv": {"bytes": "3"}})


def test_what_a_killed_writer_left_is_cleared(tmp_path: Path) -> None:
    writer = begun(tmp_path)
    writer.close()
    left = [writer.path / ".run.json.9.tmp", writer.checkpoints / ".last.pt.99.tmp"]
    for path in left:
        path.write_text("half")
    reopened(writer.path, 0, None).close()
    assert not any(path.exists() for path in left)


def test_it_takes_the_lock_or_the_callers(tmp_path: Path) -> None:
    writer = begun(tmp_path)
    with pytest.raises(RunBusy):
        reopened(writer.path, 0, None)
    writer.close()
    again = reopened(writer.path, 0, None, lock=RunLock(writer.path))
    with pytest.raises(RunBusy):
        RunLock(writer.path)
    again.close()
    RunLock(writer.path).release()


def test_a_run_that_goes_on_forgets_how_it_ended(tmp_path: Path) -> None:
    writer = begun(tmp_path)
    log(writer, 0, 4)
    marks = writer.sync()
    log(writer, 4, 6)
    writer.finish(Outcome("interrupted", "stopped on request", 6))
    again = reopened(writer.path, 4, marks)
    info = read_info(writer.path)
    assert (info["status"], info["sentence"]) == ("running", "")
    assert not {"step", "finished", "tables", "best", "last", "seconds"} & set(info)
    assert Run.open(writer.path).summary.steps == 4
    again.close()


def test_a_reader_that_was_overtaken_by_a_resume_still_reads(tmp_path: Path) -> None:
    writer = begun(tmp_path)
    log(writer, 0, 4)
    marks = writer.sync()
    log(writer, 4, 8)
    writer.finish(Outcome("interrupted", "stopped on request", 8))
    run = Run.open(writer.path)
    with reopened(writer.path, 4, marks):
        assert run.epochs["step"].tolist() == [4]

"""A sweep's folder: rows that land whole, survive a kill, and say where they are broken."""

from __future__ import annotations

from pathlib import Path

import pytest

from lrrun.errors import RunBusy, UnusableFile
from lrrun.runlog.lock import RunLock
from lrrun.runlog.names import run_folders, sweep_folders
from lrrun.runlog.sweeps import Row, SweepWriter, discard_run, read_plan, read_rows

NAN = float("nan")


def row(trial: int, status: str = "completed", sentence: str = "done", loss: float = 0.5) -> Row:
    values = {"optimizer.lr": "0.1", "scheduler": '{"name": "wsd"}'}
    return Row(trial, values, status, sentence, {"val_loss": loss}, 7, f"trial-{trial:04d}-1")


@pytest.fixture
def writer(tmp_path: Path) -> SweepWriter:
    columns = ("optimizer.lr", "scheduler"), ("val_loss",)
    return SweepWriter.create(tmp_path / "runs", "a-sweep", "plan: 1\n", *columns)


def reopened(path: Path, retry_from: int = 1) -> SweepWriter:
    return SweepWriter.reopen(path, ("optimizer.lr", "scheduler"), ("val_loss",), retry_from)


def test_rows_are_read_back_and_finish_in_order(writer: SweepWriter) -> None:
    rows = [row(3), row(1, "diverged", 'a "b", c\nd', NAN), row(2)]
    with writer:
        for each in rows:
            writer.write(each)
        assert [each.trial for each in read_rows(writer.path)] == [3, 1, 2]
        writer.finish()
    assert read_plan(writer.path) == "plan: 1\n"
    first, second, third = read_rows(writer.path)
    assert (second, third) == (row(2), row(3))
    assert first.sentence == 'a "b", c d'  # a row is a line
    assert first.metrics["val_loss"] != first.metrics["val_loss"]


def test_a_torn_last_line_is_left_out_and_written_again(writer: SweepWriter) -> None:
    with writer:
        writer.write(row(1))
    table = writer.path / "trials.csv"
    whole = table.read_bytes()
    table.write_bytes(whole + b'2,0.1,"{""na')
    assert [each.trial for each in read_rows(writer.path)] == [1]
    with reopened(writer.path) as again:
        assert table.read_bytes() == whole
        again.write(row(2))
    assert [each.trial for each in read_rows(writer.path)] == [1, 2]


def test_failed_trials_are_tried_again_unless_later_ones_were_chosen_after_them(
    writer: SweepWriter,
) -> None:
    with writer:
        for each in (row(1, "failed"), row(2, "diverged"), row(3, "failed"), row(4)):
            writer.write(each)
    with reopened(writer.path, retry_from=2) as again:
        assert list(again.rows) == [1, 2, 4]
    with reopened(writer.path) as again:
        assert list(again.rows) == [2, 4]


def test_one_writer_at_a_time(writer: SweepWriter) -> None:
    with writer, pytest.raises(RunBusy):
        reopened(writer.path)
    reopened(writer.path).close()


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("trial,", "trail,", r"trials.csv:1: expected a header"),
        ("\n1,", "\none,", r"trials.csv:2: .*'one'"),
        ("\n2,", "\n1,", r"trials.csv:3: trial 1 stands twice"),
        (",7,", ",x,", r"trials.csv:2: .*'x'"),
        ("completed,done,", "completed,", r"trials.csv:2: "),
    ],
)
def test_a_broken_table_says_where(
    writer: SweepWriter, before: str, after: str, message: str
) -> None:
    with writer:
        writer.write(row(1))
        writer.write(row(2))
    table = writer.path / "trials.csv"
    text = table.read_text()
    assert before in text
    table.write_text(text.replace(before, after, 1))
    with pytest.raises(UnusableFile, match=message):
        read_rows(writer.path)


def test_a_sweep_is_no_broken_run_and_a_run_no_sweep(writer: SweepWriter, tmp_path: Path) -> None:
    writer.close()
    runs = tmp_path / "runs"
    (runs / "lr-find-1").mkdir()
    (runs / "lr-find-1" / "find.json").touch()
    (runs / "broken-1").mkdir()
    (runs / "mine").mkdir()
    (runs / "mine" / "run.json").touch()
    assert [each.name for each in run_folders(runs)] == ["broken-1", "mine"]
    assert sweep_folders(runs) == [writer.path]
    assert sweep_folders(tmp_path / "nowhere") == []


def test_a_discarded_run_is_gone_links_are_not_followed_and_a_busy_one_stays(
    tmp_path: Path,
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    run = tmp_path / "trial-0001-1"
    (run / "checkpoints" / "deep").mkdir(parents=True)
    (run / "checkpoints" / "last.pt").touch()
    (run / "link").symlink_to(outside)
    with RunLock(run), pytest.raises(RunBusy):
        discard_run(run)
    assert (run / "checkpoints" / "last.pt").exists()
    discard_run(run)
    assert not run.exists()
    assert (outside / "kept").exists()

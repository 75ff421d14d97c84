"""What can be wrong with a data file or a run folder: one clear line each, and nothing written.

Goes on with the list of test_bad_inputs.py.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lrrun.runlog.info import read_info, write_info

CONFIG = """\
name: a
model: {name: mlp, hidden: [4]}
dataset: {name: csv, path: d.csv, target: y, task: classification, batch_size: 8}
optimizer: {name: sgd, lr: 0.05}
scheduler: {name: cosine}
train: {epochs: 1, device: cpu}
"""

HEADER = "x1,x2,y\n"
ROWS = "".join(f"{k},{k * 2},{k % 2}\n" for k in range(40))

TABLES: dict[str, tuple[str | None, str]] = {
    "B41 missing": (None, r"d\.csv: no such file"),
    "B41 empty": ("", "d.csv: empty"),
    "B41 header only": (HEADER, "no rows below the header"),
    "B42 ragged": (HEADER + ROWS + "1,2\n", r"d\.csv:42: 2 columns, expected 3"),
    "B43 text": (HEADER + ROWS + "abc,2,1\n", r"d\.csv:42: column 'x1': 'abc' is not a number"),
    "B43 blank": (HEADER + ROWS + ",2,1\n", r"d\.csv:42: column 'x1': blank"),
    "B43 underscore": (HEADER + ROWS + "1_0,2,1\n", "'1_0' is not a number"),
    "B43 digits of others": (HEADER + ROWS + "٣,2,1\n", "is not a number"),
    "B43 hexadecimal": (HEADER + ROWS + "0x10,2,1\n", "'0x10' is not a number"),
    "B44 nan": (HEADER + ROWS + "nan,2,1\n", r"d\.csv:42: column 'x1': nan is not finite"),
    "B44 inf": (HEADER + ROWS + "1,-inf,1\n", "column 'x2': -inf is not finite"),
    "B45 negative": (HEADER + ROWS + "1,2,-1\n", r"d\.csv:42: label '-1' is not a whole number"),
    "B45 fraction": (HEADER + ROWS + "1,2,1.5\n", r"label '1\.5' is not a whole number"),
    "B45 one class": (HEADER + ROWS.replace(",1\n", ",0\n"), "every label is '0'"),
    "B46 NUL": (HEADER + ROWS + "1,\0,1\n", r"d\.csv:42: a NUL byte"),
    "B46 quote": (HEADER + ROWS + '"1,2,1\n', r"d\.csv:42: unexpected end of data"),
    "B46 long field": (HEADER + ROWS + "1" * 200_000 + ",2,1\n", r"d\.csv:42: field larger than"),
    "B47 twice": ("x1,x1,y\n" + ROWS, r"d\.csv:1: two columns have the name 'x1'"),
    "B47 no target": ("x1,x2,z\n" + ROWS, r"d\.csv:1: no column 'y'; has x1, x2, z"),
}


def tree(folder: Path) -> dict[str, Any]:
    return {
        str(path): (path.lstat().st_mtime_ns, path.read_bytes() if path.is_file() else None)
        for path in folder.rglob("*")
    }


def one_clear_answer(done: Any, code: int, message: str) -> None:
    assert done.code == code, (done.out, done.err)
    assert re.search(message, done.err) and done.out == "", done.err
    (line,) = done.err.splitlines()
    assert line.startswith("lrrun: ") and line.isprintable(), line


@pytest.mark.parametrize("name", TABLES)
def test_a_table(lrrun: Callable[..., Any], empty_folder: Path, name: str) -> None:
    content, message = TABLES[name]
    (empty_folder / "c.yaml").write_text(CONFIG)
    if content is not None:
        (empty_folder / "d.csv").write_text(content)
    before = tree(empty_folder)
    one_clear_answer(lrrun("train", "c.yaml"), 3, message)
    assert tree(empty_folder) == before


def test_b41_a_folder_for_a_table(lrrun, empty_folder: Path) -> None:
    (empty_folder / "c.yaml").write_text(CONFIG)
    (empty_folder / "d.csv").mkdir()
    one_clear_answer(lrrun("train", "c.yaml"), 3, r"d\.csv: expected a CSV file, got a folder")


def test_b50_a_table_that_changed_since_the_run_began(lrrun, empty_folder: Path) -> None:
    (empty_folder / "c.yaml").write_text(CONFIG)
    (empty_folder / "d.csv").write_text(HEADER + ROWS)
    assert lrrun("train", "c.yaml", "-q").code == 0
    run = empty_folder / "runs" / "a-1"
    write_info(run, {**read_info(run), "status": "running"})
    (empty_folder / "d.csv").write_text(HEADER + ROWS.replace("7,14,1", "7,15,1"))
    before = tree(run)
    one_clear_answer(lrrun("resume", "a-1"), 3, "the data have changed since this run began: ")
    assert tree(run) == before


def test_b46_mixed_newlines_are_read(lrrun, empty_folder: Path) -> None:
    (empty_folder / "c.yaml").write_text(CONFIG)
    (empty_folder / "d.csv").write_bytes((HEADER + ROWS).encode().replace(b"\n", b"\r\n", 7))
    assert lrrun("check", "c.yaml").code == 0


# Run folders. Beside the bad one stands a good one, which every command must still show.


@pytest.fixture
def runs(empty_folder: Path, small_run: Any, quick_disk: Any) -> Path:
    """runs/ with the finished runs good-1 and bad-1."""
    for name in ("good", "bad"):
        run = small_run(empty_folder / "runs")
        with quick_disk():
            run.begin()
        run.path.rename(run.runs / f"{name}-1")
    return empty_folder / "runs"


def shown(lrrun: Any) -> dict[str, Any]:
    done = lrrun("list", "--json")
    assert (done.code, done.err) == (0, "")
    return {each["name"]: each for each in json.loads(done.out)}


def change_info(**changes: Any) -> Callable[[Path], object]:
    return lambda run: write_info(run, {**read_info(run), **changes})


def write(name: str, text: str) -> Callable[[Path], int]:
    return lambda run: (run / name).write_text(text)


BAD_INFO: dict[str, tuple[Callable[[Path], Any], str]] = {
    "B51 missing": (lambda run: (run / "run.json").unlink(), r"run\.json: missing"),
    "B51 empty": (write("run.json", ""), r"run\.json:1: not readable as JSON"),
    "B51 half": (write("run.json", '{"schema_version": 1,\n'), r"run\.json:2: not readable"),
    "B51 no JSON": (write("run.json", "<html>"), "not readable as JSON"),
    "B51 deep": (write("run.json", "[" * 100_000), "not readable as JSON"),
    "B51 list": (write("run.json", "[1]"), "expected a JSON object, got list"),
    "B51 huge": (write("run.json", " " * (17 << 20)), "larger than"),
    "B51 types": (change_info(config=3), "config: missing, or of the wrong type"),
    "B51 status": (change_info(status="\x1b[31mred"), "status: got"),
    "B51 time": (change_info(created="\x1b[2J"), r"created: expected a time, got '\\x1b\[2J'"),
    "B51 newer": (change_info(schema_version=3), "written by a newer lrrun"),
    "B51 edited": (
        lambda run: (run / "run.json").write_text(
            (run / "run.json").read_text().replace("completed", "diverged")
        ),
        "its checksum does not match",
    ),
}


@pytest.mark.parametrize("name", BAD_INFO)
def test_a_bad_run_json(lrrun, runs: Path, name: str) -> None:
    spoil, message = BAD_INFO[name]
    spoil(runs / "bad-1")
    before = tree(runs)
    one_clear_answer(lrrun("show", "bad-1"), 3, message)
    one_clear_answer(lrrun("compare", "good-1", "bad-1"), 3, message)
    found = shown(lrrun)
    assert found["good-1"]["status"] == "completed"
    assert found["bad-1"]["status"] == "unreadable" and re.search(
        message, found["bad-1"]["problem"]
    )
    text = lrrun("list")
    assert text.code == 0 and "bad-1: unreadable: " in text.out and "\x1b" not in text.out
    assert tree(runs) == before


def killed(run: Path) -> None:
    """As a process that died leaves it: it has not said how its tables ended."""
    info = read_info(run)
    ended = ("tables", "best", "last", "epochs", "steps", "samples", "seconds", "step", "finished")
    write_info(run, {k: v for k, v in info.items() if k not in ended} | {"status": "running"})


@pytest.mark.parametrize("content", [None, "", "epoch,step,samples,lr,train_loss,val_loss\n"])
def test_b52_no_epochs_yet(lrrun, runs: Path, content: str | None) -> None:
    killed(runs / "bad-1")
    (runs / "bad-1" / "epochs.csv").unlink()
    if content is not None:
        (runs / "bad-1" / "epochs.csv").write_text(content)
    done = lrrun("show", "bad-1")
    assert (done.code, done.err) == (0, "") and "no epochs yet" in done.out
    assert set(shown(lrrun)) == {"good-1", "bad-1"}


def test_b53_a_last_row_that_is_not_whole_is_left_out(lrrun, runs: Path) -> None:
    killed(runs / "bad-1")
    before = json.loads(lrrun("show", "bad-1", "--json").out)["table"]
    with (runs / "bad-1" / "epochs.csv").open("a") as file:
        file.write("4,8,8,0.")
    done = lrrun("show", "bad-1", "--json")
    assert done.code == 0 and json.loads(done.out)["table"] == before


BAD_ROWS = {
    "B54 text": ("x,8,8,0.1,1.0,2.0\n", r"epochs\.csv:5: expected a number, got 'x'"),
    "B54 cells": ("4,8,8\n", r"epochs\.csv:5: expected 6 cells, got 3"),
    "B54 not UTF-8": ("4,8,8,0.1,1.0,\xff\xfe\n", r"epochs\.csv:5: expected a number"),
    "B54 escape": ("4,8,8,0.1,1.0,\x1b[31m\n", r"epochs\.csv:5: expected a number"),
    "B54 no count": ("4,8,,0.1,1.0,2.0\n", r"epochs\.csv:5: samples: expected a whole number"),
    "B54 endless": ("4,inf,8,0.1,1.0,2.0\n", r"epochs\.csv:5: step: expected a whole number"),
    "B54 part": ("4.5,8,8,0.1,1.0,2.0\n", r"epochs\.csv:5: epoch: expected a whole number"),
    "B55 again": ("3,6,6,0.1,1.0,2.0\n", r"epochs\.csv:5: step 6 follows step 6"),
    "B55 backwards": ("4,2,8,0.1,1.0,2.0\n", r"epochs\.csv:5: step 2 follows step 6"),
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_a_bad_row(lrrun, runs: Path, name: str) -> None:
    row, message = BAD_ROWS[name]
    killed(runs / "bad-1")
    with (runs / "bad-1" / "epochs.csv").open("a", encoding="latin-1") as file:
        file.write(row + "9,99,99,0.1,1.0,2.0\n")
    one_clear_answer(lrrun("show", "bad-1"), 3, message)
    one_clear_answer(lrrun("compare", "good-1", "bad-1"), 3, message)
    found = shown(lrrun)
    assert found["good-1"]["status"] == "completed" and re.search(
        message, found["bad-1"]["problem"]
    )


def test_b54_other_columns(lrrun, runs: Path) -> None:
    killed(runs / "bad-1")
    (runs / "bad-1" / "epochs.csv").write_text("a,b\n1,2\n")
    one_clear_answer(lrrun("show", "bad-1"), 3, r"epochs\.csv:1: expected a header that begins")


def test_b56_strays_are_passed_over(lrrun, runs: Path) -> None:
    for name in (".DS_Store", "notes.txt~", "a-1.tmp", "a-1.bad"):
        (runs / name).write_text("")
    (runs / "good-1" / "good-1").mkdir()
    (runs / "good-1" / ".run.json.1.tmp").write_text("half")
    assert set(shown(lrrun)) == {"good-1", "bad-1"}


def test_b57_odd_folder_names_are_escaped(lrrun, runs: Path) -> None:
    for name in (b"\xff-1", b"a\nb-1", b"\x1b[31m-1", b"x" * 253 + b"-1", "\u202ea-1".encode()):
        (runs / os.fsdecode(name)).mkdir()
    done = lrrun("list")
    assert done.code == 0 and "\x1b" not in done.out and "\u202e" not in done.out
    assert all(line.isprintable() for line in done.out.splitlines())
    assert lrrun("list", "--json").code == 0


def test_b58_a_run_that_may_not_be_written_is_read(lrrun, runs: Path, ordinary_rights) -> None:
    (runs / "bad-1").chmod(0o555)
    with ordinary_rights():
        with pytest.raises(PermissionError):
            (runs / "bad-1" / "note").touch()
        shown = lrrun("show", "bad-1")
    (runs / "bad-1").chmod(0o755)
    assert shown.code == 0


def test_b59_a_moved_or_copied_run_works(lrrun, empty_folder: Path, runs: Path) -> None:
    before = json.loads(lrrun("show", "bad-1", "--json").out)
    shutil.copytree(runs / "bad-1", empty_folder / "elsewhere" / "kept")
    shutil.rmtree(runs)
    after = json.loads(lrrun("show", "elsewhere/kept", "--json").out)
    assert after == before | {"name": "kept", "path": "elsewhere/kept"}


@pytest.mark.parametrize("seconds", [0, 4_102_444_800])
def test_b60_file_times_mean_nothing(lrrun, runs: Path, seconds: int) -> None:
    before = list(shown(lrrun))
    for path in [*runs.rglob("*")]:
        os.utime(path, (seconds, seconds))
    assert list(shown(lrrun)) == before


@pytest.mark.parametrize("make", ["file", "dangling", "outside"])
def test_b35_what_is_no_run_folder(lrrun, empty_folder: Path, runs: Path, make: str) -> None:
    path = runs / "odd-1"
    if make == "file":
        path.write_text("")
    else:
        target = empty_folder / "outside"
        (runs / "bad-1").rename(target)
        path.symlink_to(target if make == "outside" else "nowhere")
    one_clear_answer(lrrun("show", "odd-1"), 3, "odd-1' is (a link|not a run's folder)")
    assert "odd-1" not in shown(lrrun)

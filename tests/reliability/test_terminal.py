"""Whatever a name, a config or a log says, wherever output goes: text is shown, never obeyed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lrrun.runlog.info import read_info, write_info

READING = (["list"], ["show", "good-1"], ["compare", "good-1", "odd-1"])

TEXTS = [
    "\x1b[2J\x1b[31mred",  # clears the screen
    "\x1b]52;c;aGk=\x07",  # writes the clipboard
    "\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\",
    "\x9b31m",  # the one-character form of ESC [
    "\u202egnp.exe\u2066\u200b",  # reads backwards
    "[red]x[/red]",
    "[/]",
    "[link=http://x]y[/link]",
    ":smile:",
    "\r\rcompleted\x08\x08\x7f",
    "line\nbreak\u2028\u2029\x85",
    "\udcff.\ud800",
    "=cmd|' /C calc'!A0",
    "<script>alert(1)</script>",
    "$\\frac{$$",
    "\x00",
]


@pytest.fixture
def runs(empty_folder: Path, small_run: Any, quick_disk: Any) -> Path:
    """runs/ with the finished runs good-1 and odd-1."""
    for name in ("good", "odd"):
        run = small_run(empty_folder / "runs")
        with quick_disk():
            run.begin()
        run.path.rename(run.runs / f"{name}-1")
    return empty_folder / "runs"


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
def test_text_of_a_run_is_shown_and_not_obeyed(lrrun, runs: Path, text: str) -> None:
    info = read_info(runs / "odd-1")
    config = {
        "name": text,
        "model": {"name": text, "size": 3},
        "dataset": {"name": "digits", text: [text]},
        "optimizer": {"name": "sgd", "lr": text},
    }
    changes = {"config": config, "sentence": text, "device": text, "git": text, "command": text}
    write_info(runs / "odd-1", {**info, **changes, "status": "failed"})
    for command in (["list"], ["show", "odd-1"], ["compare", "good-1", "odd-1"]):
        done = lrrun(*command)
        assert (done.code, done.err) == (0, ""), done.err
        assert all(line.isprintable() for line in done.out.split("\n")), done.out
        data = lrrun(*command, "--json")
        assert data.code == 0 and data.out.isascii() and json.loads(data.out)
    if text.isprintable() and len(text) < 30:  # nothing of it was taken for markup
        shown = "".join(lrrun("show", "odd-1").out.split())
        assert "".join(text.split()) in shown
    saved = json.loads(lrrun("show", "odd-1", "--json").out)
    assert saved["sentence"] == text and saved["config"] == config


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
def test_text_of_a_command_line_comes_back_harmless(lrrun, runs: Path, text: str) -> None:
    done = lrrun("show", text) if "\x00" not in text else lrrun("show", text + "x")
    assert done.code in (2, 3) and done.err.startswith("lrrun: ")
    assert all(line.isprintable() for line in done.err.split("\n"))


def command(*arguments: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    code = "from lrrun.cli.main import run; run()"
    return subprocess.run([sys.executable, "-c", code, *arguments], **options)


def environment(**changes: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], **changes}


@pytest.mark.parametrize(
    "changes",
    [
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "ascii", "TERM": "dumb", "COLUMNS": "1"},
        {"PYTHONIOENCODING": "utf-8", "NO_COLOR": "1", "COLUMNS": "40"},
    ],
    ids=["ASCII locale", "ASCII, a column, dumb", "narrow, no colour"],
)
def test_any_locale_and_width_without_home(runs: Path, changes: dict[str, str]) -> None:
    """HOME, USER and TMPDIR are not set in any of these."""
    for arguments in READING:
        done = command(*arguments, env=environment(**changes), capture_output=True)
        assert (done.returncode, done.stderr) == (0, b"")
        assert b"\x1b" not in done.stdout and done.stdout
        if "utf-8" not in changes.values():
            assert done.stdout.isascii()


@pytest.mark.parametrize(
    "arguments", [*READING, ["list", "--json"]], ids=lambda arguments: "-".join(arguments)
)
def test_a_reader_that_has_gone_ends_it_silently(runs: Path, arguments: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = command(*arguments, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("arguments", [["list"], ["show", "good-1", "--json"]])
def test_output_that_cannot_be_written_is_one_line(runs: Path, arguments: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = command(*arguments, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 5
    assert done.stderr == b"lrrun: cannot write to standard output: No space left on device\n"


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_stream_that_was_closed_before_it_began(runs: Path, stream: str) -> None:
    closing = ">&-" if stream == "stdout" else "2>&-"
    code = "from lrrun.cli.main import run; run()"
    done = subprocess.run(
        f"'{sys.executable}' -c '{code}' list {closing}", shell=True, capture_output=True
    )
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(
    "name",
    ["with space", 'it\'s "quoted"', "[red]", "ü漢", "a\nb", "-rf", "$(touch x)", "x" * 200],
)
def test_odd_folders_of_runs(
    lrrun: Callable[..., Any], empty_folder: Path, runs: Path, name
) -> None:
    before = lrrun("show", "good-1", "--json")
    deep = empty_folder / name / ("y" * 200) / ("z" * 200) / "runs"
    deep.parent.mkdir(parents=True)
    runs.rename(deep)
    done = lrrun("show", "good-1", "--json", f"--runs-dir={deep}")
    assert done.code == 0
    moved = {**json.loads(before.out), "path": str(deep / "good-1")}
    assert json.loads(done.out) == moved
    for arguments in (["list"], ["compare", "good-1", "odd-1"], ["show", "good-1"]):
        shown = lrrun(*arguments, f"--runs-dir={deep}")
        assert (shown.code, shown.err) == (0, "")
        assert all(line.isprintable() for line in shown.out.split("\n"))
    assert lrrun("show", "none", f"--runs-dir={deep}").code == 2


def test_a_current_folder_that_is_gone(runs: Path, empty_folder: Path) -> None:
    gone = empty_folder / "gone"
    gone.mkdir()
    code = (
        "import os, sys; os.chdir(sys.argv[1]); os.rmdir(sys.argv[1])\n"
        "sys.argv = ['lrrun', 'show', 'good-1', '--runs-dir', sys.argv[2]]\n"
        "from lrrun.cli.main import run; run()"
    )
    done = subprocess.run([sys.executable, "-c", code, gone, runs], capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")

"""What can be wrong with a config or a command line: one clear line each, and nothing written.

A row an input. Numbers are those of the list that these were collected in; rows of data files and
run folders are in test_bad_files.py.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lrrun.runlog.disk import Disk
from lrrun.runlog.info import read_info, write_info

BASE = """\
name: a
model: {name: mlp, hidden: [8]}
dataset: {name: digits, batch_size: 64}
optimizer: {name: sgd, lr: 0.05, momentum: 0.9}
scheduler: {name: cosine}
train: {epochs: 2, device: cpu}
"""

NAME_RULE = r"name: expected 1 to 100 letters, digits, '\.', '_' or '-'"


def tree(folder: Path) -> dict[str, str]:
    """Every path below `folder`, with the hash of what is there."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        if path.is_file()
        else "folder"
        for path in folder.rglob("*")
    }


def one_clear_answer(done: Any, code: int, message: str) -> None:
    """The exit code, and lines that begin with `lrrun: ` and hold nothing a terminal obeys."""
    assert done.code == code, (done.out, done.err)
    assert "Traceback" not in done.err and re.search(message, done.err), done.err
    lines = done.err.splitlines()
    assert 1 <= len(lines) <= 4 and done.out == ""
    for line in lines:
        assert line.startswith("lrrun: ") and line.isprintable(), line


def laughs(levels: int) -> str:
    names = [f"a{k}" for k in range(levels)]
    pairs = itertools.pairwise(names)
    return "a0: &a0 [x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}, *{a}]\n" for a, b in pairs)


def changed(old: str, new: str) -> str:
    assert old in BASE
    return BASE.replace(old, new)


CONFIGS: dict[str, tuple[str | bytes, str]] = {
    "B03 empty": ("", r"c\.yaml: empty; expected at least model"),
    "B03 comments": ("# nothing\n", "empty"),
    "B03 null": ("~\n", "empty"),
    "B04 list": ("- a\n", r"c\.yaml:1: expected keys and values, got list"),
    "B04 text": ("words\n", "expected keys and values, got str"),
    "B05 tab": ("model:\n\tname: mlp\n", r"c\.yaml:2: tab character; indent with spaces"),
    "B06 quote": ('name: "a\nmodel: mlp\n', "quote opened in line 1 never closes"),
    "B07 repeated": (changed("lr: 0.05", "lr: 0.05, lr: 1"), r"yaml:4: optimizer\.lr: repeats"),
    "B08 unknown": (changed("lr: 0.05", "lrr: 1"), r"optimizer\.lrr: unknown key; did you mean lr"),
    "B09 tag": ("model: !!python/object/apply:os.system [touch x]\n", "tags are not supported"),
    "B10 merge": ("a: &a {x: 1}\nb: {<<: *a}\n", r"merge keys \(<<\) are not supported"),
    "B10 itself": ("a: &a [*a]\n", r"c\.yaml:1: \*a has no &a before it"),
    "B11 laughs": (laughs(30), "more than 100,000 values"),
    "B11 depth": ("a: " + "[" * 100_000, "nested more than 50 deep"),
    "B11 size": ("a: " + "x" * (2 << 20), "larger than 1 MiB"),
    "B12 bytes": (b"name: \xff\xfe\n", "not UTF-8 at byte 6"),
    "B12 UTF-16": (BASE.encode("utf-16"), "not UTF-8 at byte 0"),
    "B12 NUL": ("name: a\0b\n", "not YAML"),
    "B12 code point": ('name: "\\U00110000"\n', "not YAML"),
    "B14 documents": (BASE + "---\n" + BASE, r"c\.yaml:7: a second document"),
    "B15 on": (changed("{epochs: 2", "{grad_norm: on, epochs: 2"), "expected true or false, got"),
    "B17 text": (changed("0.05", '"0.1"'), r"yaml:4: optimizer\.lr: expected a number, got '0\.1'"),
    "B17 word": (changed("0.05", "fast"), r"optimizer\.lr: expected a number, got 'fast'"),
    "B18 negative": (changed("0.05", "-0.1"), r"optimizer\.lr: expected more than 0, got -0\.1"),
    "B18 zero": (changed("0.05", "0"), "expected more than 0, got 0"),
    "B18 nan": (changed("0.05", ".nan"), "expected a finite number, got nan"),
    "B18 inf": (changed("0.05", ".inf"), "expected a finite number, got inf"),
    "B18 overflow": (changed("0.05", "1e999"), "expected a finite number, got inf"),
    "B19 zero": (changed("epochs: 2", "epochs: 0"), r"yaml:6: train\.epochs: expected at least 1"),
    "B19 negative": (changed("epochs: 2", "epochs: -1"), "expected at least 1, got -1"),
    "B19 half": (changed("epochs: 2", "epochs: 2.5"), "expected a whole number, got 2.5"),
    "B19 digits": (changed("epochs: 2", "epochs: " + "9" * 5000), "5000 digits is too large"),
    "B20 batch": (
        changed(": 64", ": 5000"),
        "batch_size: 5000 is more than the 1437 training rows",
    ),
    "B21 fraction": (
        changed("{name: digits,", "{name: synthetic-classification, val_fraction: 1.0,"),
        r"dataset\.val_fraction: expected less than 1, got 1\.0",
    ),
    "B22 warmup": (changed("cosine}", "cosine, warmup: 900}"), r"scheduler\.warmup: .*900.* 46"),
    "B23 milestones": (
        changed("{name: cosine}", "{name: multistep, at: [30, 10], factor: 0.1}"),
        r"scheduler\.at: expected rising milestones, got 30 steps before 10 steps",
    ),
    "B23 cycle": (changed("cosine}", "cosine-restarts, cycle: 0}"), r"scheduler\.cycle: "),
    "B23 height": (changed("cosine}", "cosine, final: 1.0}"), r"final: expected at most .* 0\.05"),
    "B24 schedule": (changed("cosine}", "cosin}"), "'cosin'; did you mean cosine"),
    "B24 optimizer": (changed("sgd", "sgdd"), "'sgdd'; did you mean sgd"),
    "B24 model": (changed("mlp", "mpl"), "'mpl'; did you mean mlp"),
    "B24 dataset": (changed("digits", "digit"), "'digit'; did you mean digits"),
    "B25 of another": (
        changed("cosine}", "cosine, gamma: 1}"),
        r"scheduler\.gamma: cosine: unknow",
    ),
    "B26 negative": (changed("[8]", "[128, -1]"), r"model\.hidden\[1\]: expected at least 1"),
    "B26 none": (changed("[8]", "[]"), r"model\.hidden: expected at least one"),
    "B26 huge": (changed("[8]", "[1000000000]"), r"model\.hidden\[0\]: expected at most"),
    "B27 negative": (BASE + "seed: -1\n", "yaml:7: seed: expected at least 0"),
    "B27 huge": (BASE + f"seed: {2**64}\n", "yaml:7: .*too large"),
    "B28 device": (
        changed("device: cpu", "device: cuda:99"),
        r"train\.device: cuda.* not available",
    ),
    "B29 code": (changed("name: mlp, hidden: [8]", "name: evil:Model"), "pass --allow-code"),
    "B33 name": (changed("name: a\n", "name: ../a\n"), NAME_RULE),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config(lrrun: Callable[..., Any], empty_folder: Path, name: str) -> None:
    text, message = CONFIGS[name]
    (empty_folder / "c.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    (empty_folder / "evil.py").write_text("open('marker', 'w')\n")
    before = tree(empty_folder)
    one_clear_answer(lrrun("train", "c.yaml"), 2, message)
    assert tree(empty_folder) == before


@pytest.mark.parametrize(
    "text",
    [b"\xef\xbb\xbf" + BASE.replace("\n", "\r\n").encode(), BASE.replace("0.05", "5e-2").encode()],
    ids=["B13 byte order mark and CRLF", "B16 5e-2"],
)
def test_a_config_that_looks_odd_and_is_fine(lrrun, empty_folder: Path, text: bytes) -> None:
    (empty_folder / "c.yaml").write_text(BASE)
    plain = lrrun("check", "c.yaml", "--json")
    (empty_folder / "c.yaml").write_bytes(text)
    assert lrrun("check", "c.yaml", "--json") == plain and plain.code == 0


def test_b01_b02_what_is_no_file(lrrun, empty_folder: Path) -> None:
    (empty_folder / "folder").mkdir()
    os.mkfifo(empty_folder / "pipe")
    for name, message in (
        ("no", "no such file"),
        ("folder", "is a f"),
        ("pipe", "is not a regular"),
    ):
        one_clear_answer(lrrun("train", name), 2, f"{name}: {message}")


def test_b02_permission(lrrun, empty_folder: Path, ordinary_rights) -> None:
    (empty_folder / "c.yaml").write_text(BASE)
    (empty_folder / "c.yaml").chmod(0)
    with ordinary_rights():
        one_clear_answer(lrrun("train", "c.yaml"), 2, r"c\.yaml: Permission denied")


COMMANDS: dict[str, tuple[list[str], int, str]] = {
    "B32 no value": (["train", "c.yaml", "optimizer.lr"], 2, "optimizer.lr: expected key=value"),
    "B32 no key": (["train", "c.yaml", "=3"], 2, "expected key=value"),
    "B32 unknown": (["train", "c.yaml", "trian.epochs=1"], 2, "unknown key; did you mean train"),
    "B32 type": (["train", "c.yaml", "optimizer.lr=abc"], 2, "expected a number, got 'abc'"),
    "B36 unknown run": (["show", "b-1"], 2, "no run 'b-1': there are no runs"),
    "B37 one run": (["compare", "a-1"], 2, "compare needs two runs or more, got 1"),
    "B37 nobody": (["compare", "a-*", "b-*"], 2, r"no run 'a-\*'"),
    "B38 zero": (["find", "c.yaml", "--from", "0"], 2, "from 0 to 10: expected 0 < from < to"),
    "B38 nan": (["find", "c.yaml", "--from", "nan"], 2, "expected 0 < from < to"),
    "B38 reversed": (
        ["find", "c.yaml", "--from", "1", "--to", "0.1"],
        2,
        r"from 1 to 0\.1: expected 0 < from < to",
    ),
    "B38 one step": (["find", "c.yaml", "--steps", "1"], 2, "1 steps: expected at least 20"),
    "B39 empty": (["sweep", "c.yaml", "optimizer.lr=[]"], 2, "an empty list"),
    "B39 twice": (["sweep", "c.yaml", "optimizer.lr=1,1.0"], 2, r"1\.0 stands twice"),
    "B39 unknown": (["sweep", "c.yaml", "optimizer.lrr=1,2"], 2, "unknown key; did you mean lr"),
    "B39 many": (
        ["sweep", "c.yaml", "seed=0..99", "optimizer.lr=1e-4..1:log:101"],
        2,
        "10,100 trials",
    ),
    "B40 file": (["train", "c.yaml", "--runs-dir", "c.yaml"], 2, "there is a file of that name"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_line(lrrun, empty_folder: Path, name: str) -> None:
    arguments, code, message = COMMANDS[name]
    (empty_folder / "c.yaml").write_text(BASE)
    before = tree(empty_folder)
    one_clear_answer(lrrun(*arguments), code, message)
    assert tree(empty_folder) == before


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "/etc/x",
        "a/b",
        ".",
        "..",
        "",
        "x" * 300,
        "x.",
        "a b",
        "[red]",
        "\u202ea",
        "-rf",
        "é",
    ],
)
def test_b33_a_name_of_a_run(lrrun, empty_folder: Path, name: str) -> None:
    (empty_folder / "c.yaml").write_text(BASE)
    before = tree(empty_folder)
    one_clear_answer(lrrun("train", "c.yaml", f"--name={name}"), 2, NAME_RULE)
    assert tree(empty_folder) == before


@pytest.mark.parametrize("name", ["a\x1b[2J", "a\x07", "a\x9bm"])
def test_b33_a_name_that_a_terminal_would_obey(lrrun, empty_folder: Path, name: str) -> None:
    (empty_folder / "c.yaml").write_text(BASE)
    one_clear_answer(lrrun("train", "c.yaml", f"--name={name}"), 2, "command line")


def test_b30_code_that_fails_is_named_without_our_frames(lrrun, empty_folder: Path) -> None:
    (empty_folder / "raising.py").write_text("undefined\n")
    (empty_folder / "number.py").write_text("Model = 3\n")
    (empty_folder / "c.yaml").write_text(BASE)
    for model, message in (
        ("raising:Model", "importing raising failed: NameError: name 'undefined'"),
        ("missing_module:Model", "there is no module 'missing_module'"),
        ("number:Model", "expected a class or function, number:Model is 3"),
    ):
        changes = [f"model={{name: '{model}'}}", "--allow-code"]
        one_clear_answer(lrrun("train", "c.yaml", *changes), 2, message)
    assert not (empty_folder / "runs").exists()


def test_b31_nothing_asked_or_half(lrrun, empty_folder: Path) -> None:
    assert "Usage: lrrun" in lrrun().out
    done = lrrun("train")
    assert done.code == 2 and "Missing argument 'CONFIG'" in done.err
    assert list(empty_folder.iterdir()) == []


@pytest.fixture
def trained(lrrun, empty_folder: Path) -> Path:
    """A config, and its run a-1."""
    (empty_folder / "c.yaml").write_text(BASE)
    assert lrrun("train", "c.yaml", "-q", "train.epochs=1").code == 0
    return empty_folder


def test_b34_a_name_that_is_taken_gets_the_next_number(lrrun, trained: Path) -> None:
    before = tree(trained)
    assert lrrun("train", "c.yaml", "-q", "train.epochs=1").code == 0
    assert {name: what for name, what in tree(trained).items() if "a-2" not in name} == before
    assert (trained / "runs" / "a-2" / "run.json").is_file()


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        (("resume", "b-1"), 2, "no run 'b-1' in 'runs'; did you mean a-1"),
        (("resume", "a-1"), 0, "nothing to do, the run is completed"),
        (("resume", "a-1", "optimizer.lr=1"), 2, "optimizer.lr: 0.05 in this run, 1.0 asked for"),
        (("compare", "a-1", "a-1"), 2, "a-1"),
        (("compare", "a-1", "b-*"), 2, "no run 'b-\\*'"),
    ],
    ids=["B36 unknown", "B36 finished", "B36 bent", "B37 twice", "B37 nobody"],
)
def test_a_command_about_a_run(lrrun, trained: Path, command, code: int, message: str) -> None:
    before = tree(trained)
    done = lrrun(*command)
    assert done.code == code, done
    assert re.search(message, done.err) and "Traceback" not in done.err, done.err
    assert all(line.startswith("lrrun: ") for line in done.err.splitlines())
    assert tree(trained) == before


def test_b36_a_run_that_was_never_saved_begins_at_its_first_step(lrrun, trained: Path) -> None:
    run = trained / "runs" / "a-1"
    steps = (run / "steps.csv").read_bytes()
    write_info(run, read_info(run) | {"status": "running"})
    for each in (run / "checkpoints").iterdir():
        each.unlink()
    assert lrrun("resume", "a-1", "-q").code == 0
    assert [each["step"] for each in read_info(run)["resumed"]] == [0]
    assert (run / "steps.csv").read_bytes() == steps


def test_b40_a_disk_that_is_read_only(lrrun, empty_folder: Path, use_disk) -> None:
    class ReadOnly(Disk):
        def make_folder(self, path: Path) -> None:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    (empty_folder / "c.yaml").write_text(BASE)
    use_disk(ReadOnly())
    one_clear_answer(lrrun("train", "c.yaml"), 5, "'runs': .*that disk is read-only; choose ano")


def test_b26_a_model_above_the_memory(lrrun, empty_folder: Path, monkeypatch) -> None:
    monkeypatch.setattr("lrrun.training.memory.device_memory", lambda device: 10**9)
    (empty_folder / "c.yaml").write_text(changed("[8]", "[20000, 20000]"))
    one_clear_answer(lrrun("train", "c.yaml"), 2, "model: needs about 5 GB .* cpu has 1 GB")
    assert not (empty_folder / "runs").exists()


def test_b31_no_such_command(lrrun) -> None:
    done = lrrun("trian")
    assert done.code == 2 and "No such command 'trian'. Did you mean 'train'?" in done.err


def test_a_bad_config_is_answered_before_torch_is_loaded(empty_folder: Path) -> None:
    (empty_folder / "c.yaml").write_text(BASE.replace("0.05", "fast"))
    code = (
        "import sys; sys.argv = ['lrrun', 'train', 'c.yaml']\n"
        "from lrrun.cli.main import run\n"
        "try:\n    run()\nexcept SystemExit as end:\n    code = end.code\n"
        "assert (code, 'torch' in sys.modules) == (2, False)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr.startswith("lrrun: c.yaml:4: optimizer.lr")

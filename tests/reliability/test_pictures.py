"""A picture that could not be drawn after the training is refused before it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Lrrun = Callable[..., Any]

CONFIG = """\
name: a
model: {name: mlp, hidden: [4]}
dataset: {name: digits, batch_size: 256}
optimizer: {name: sgd, lr: 0.05}
train: {steps: 12, device: cpu}
"""

COMMANDS = {
    "find": ("find", "c.yaml", "--quick", "--steps", "40"),
    "sweep": ("sweep", "c.yaml", "optimizer.lr=0.01,0.1", "--quiet"),
}


@pytest.fixture
def place(empty_folder: Path) -> Path:
    (empty_folder / "c.yaml").write_text(CONFIG)
    (empty_folder / "folder.png").mkdir()
    (empty_folder / "locked").mkdir()
    (empty_folder / "locked").chmod(0o500)
    return empty_folder


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("nowhere/x.png", "No such file or directory"),
        ("c.yaml/x.png", "Not a directory"),
        ("folder.png", "Is a directory"),
        ("locked/x.png", "Permission denied"),
    ],
)
def test_a_place_that_cannot_be_written(
    lrrun: Lrrun, place: Path, ordinary_rights: Any, command: str, file: str, reason: str
) -> None:
    before = sorted(place.rglob("*"))
    with ordinary_rights():
        done = lrrun(*COMMANDS[command], "--png", file)
    assert (done.code, done.out) == (5, "")
    assert f"lrrun: cannot write '{file}': {reason}" in done.err
    assert sorted(place.rglob("*")) == before


@pytest.mark.parametrize("command", COMMANDS)
def test_without_matplotlib_its_extra_is_named(
    lrrun: Lrrun, place: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    done = lrrun(*COMMANDS[command], "--png", "x.png")
    assert (done.code, done.out) == (5, "")
    assert 'a picture needs matplotlib, which is not installed: pip install "lrrun[plots]"' in (
        done.err
    )
    assert not (place / "runs").exists()


@pytest.mark.parametrize("command", COMMANDS)
def test_a_picture_that_is_there_is_replaced_and_nothing_else_left(
    lrrun: Lrrun, place: Path, command: str
) -> None:
    (place / "x.png").write_text("the one before")
    assert lrrun(*COMMANDS[command], "--png", "x.png").code == 0
    assert (place / "x.png").read_bytes().startswith(b"\x89PNG")
    assert not [*place.glob(".*")]

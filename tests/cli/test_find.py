"""`lrrun find`, as somebody types it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CONFIG = """
name: small
model: {name: mlp, hidden: [16]}
dataset: {name: synthetic-classification, rows: 400, separation: 2.5, batch_size: 20}
optimizer: {name: sgd, lr: 0.0001}
scheduler: cosine
train: {steps: 60, evaluate: 100%, device: cpu}
"""
SHORT = ("--from", "1e-5", "--to", "100", "--steps", "60")


@pytest.fixture
def config(empty_folder: Path) -> Path:
    file = empty_folder / "small.yaml"
    file.write_text(CONFIG)
    return file


def test_it_says_what_to_paste_and_keeps_it(lrrun: Callable[..., Any], config: Path) -> None:
    done = lrrun("find", config, *SHORT, "--budget", 4, "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert set(found) >= {"recommended_lr", "interval", "diverges_at", "rules", "cost"}
    assert set(found["rules"]) == {"steepest", "valley", "minimum/10", "minimum", "edge"}
    assert found["to_paste"] == [f"optimizer.lr={found['recommended_lr']:g}"]
    assert 0 < found["cost"]["steps"] <= 4 * 60
    assert json.loads(Path("runs/small-find-1/find.json").read_text("utf-8")) == found
    assert lrrun("train", config, *found["to_paste"], "--quiet").code == 0


def test_it_draws_the_curve_and_each_rule_and_their_disagreement(
    lrrun: Callable[..., Any], config: Path
) -> None:
    done = lrrun("find", config, *SHORT, "--quick", "--png", "curve.png")
    assert done.code == 0, done.err
    assert "range test: training loss" in done.out
    for rule in ("steepest", "valley", "minimum/10", "minimum", "edge"):
        assert rule in done.out
    assert "the rules differ by a factor of" in done.out
    assert "not confirmed by any run" in done.out
    assert done.out.splitlines()[-1].startswith("optimizer.lr=")
    assert Path("curve.png").read_bytes().startswith(b"\x89PNG")


def test_a_flat_curve_has_no_answer(lrrun: Callable[..., Any], config: Path) -> None:
    done = lrrun("find", config, "--from", "1e-9", "--to", "1e-6", "--steps", 60)
    assert done.code == 8
    assert "the loss never fell" in done.err
    assert "--to" in done.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--from", "1", "--to", "0.1"), "expected 0 < from < to"),
        (("--steps", "3"), "at least 20"),
        (("--budget", "0"), "--budget 0"),
        (("--budget", "0.5", "--steps", "60"), "the range test alone takes 1 runs' steps"),
        (("--png", "curve.jpg"), ".png or .svg"),
        (("optimizer.lrr=1",), "lrr"),
    ],
    ids=["reversed", "too short", "no budget", "too small a budget", "another picture", "a typo"],
)
def test_what_cannot_be_done_is_refused_before_anything_is_trained(
    lrrun: Callable[..., Any], config: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = lrrun("find", config, *arguments)
    assert done.code == 2
    assert message in done.err
    assert not Path("runs").exists()


def test_show_and_list_explain_the_search(lrrun: Callable[..., Any], config: Path) -> None:
    told = lrrun("find", config, *SHORT, "--budget", 4)
    shown = lrrun("show", "small-find-1", "--png", "again.png")
    assert shown.code == 0, shown.err
    assert shown.out == told.out
    assert Path("again.png").read_bytes().startswith(b"\x89PNG")
    found = json.loads(lrrun("show", "latest", "--json").out)
    assert found == json.loads(Path("runs/small-find-1/find.json").read_text("utf-8"))
    listed = lrrun("list").out
    assert listed.split()[0] == "search"
    assert "diverged" not in listed
    (row,) = json.loads(lrrun("list", "--json").out)
    assert (row["kind"], row["status"]) == ("find", "done")
    assert row["recommended_lr"] == found["recommended_lr"]
    Path("runs/small-find-1/find.json").write_text("{")
    assert "small-find-1: unreadable" in lrrun("list").out
    assert lrrun("show", "small-find-1").code == 3


def test_show_says_why_a_search_has_no_answer_or_how_it_goes_on(
    lrrun: Callable[..., Any], config: Path
) -> None:
    lrrun("find", config, "--from", "1e-9", "--to", "1e-6", "--steps", 60)
    shown = lrrun("show", "small-find-1")
    assert (shown.code, "no answer: no learning rate can be read" in shown.out) == (0, True)
    assert json.loads(lrrun("list", "--json").out)[0]["status"] == "no answer"
    assert lrrun("show", "small-find-1", "--png", "curve.png").code == 8
    Path("runs/small-find-1/find.json").unlink()
    shown = lrrun("show", "small-find-1")
    assert "goes on from what is done" in shown.out
    assert f"find {config}" in shown.out

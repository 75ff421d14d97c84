"""docs/extending.md: its code and its config run as they stand, and what it says is so."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Lrrun = Callable[..., Any]

PAGE = (Path(__file__).parent.parent / "docs" / "extending.md").read_text("utf-8")


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.fixture
def folder(empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (empty_folder / "mine.py").write_text(blocks("python")[0])
    (empty_folder / "mine.yaml").write_text(blocks("yaml")[0])
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield empty_folder
    sys.modules.pop("mine", None)


def test_the_config_trains_and_learns(lrrun: Lrrun, folder: Path) -> None:
    refused = lrrun("train", "mine.yaml")
    assert (refused.code, "--allow-code" in refused.err) == (2, True)
    done = lrrun("train", "mine.yaml", "--allow-code", "--json")
    assert done.code == 0, done.err
    (run,) = json.loads(done.out)
    assert run["best"]["val_loss"]["value"] < 0.6 < run["chance_loss"]


def test_arguments_are_held_against_the_signature(lrrun: Lrrun, folder: Path) -> None:
    refused = lrrun("check", "mine.yaml", "--allow-code", "model.widht=3")
    assert (refused.code, "did you mean width?" in refused.err) == (2, True)


def test_the_formula_is_the_function(lrrun: Lrrun, folder: Path) -> None:
    formula = re.search(r'factor: "(min\(.*?)"}', PAGE)
    assert formula is not None
    words = ("schedule", "mine.yaml", "--allow-code", "--steps-per-epoch", "16", "--json")
    (code,) = json.loads(lrrun(*words).out)
    spec = json.dumps({"name": "lambda", "factor": formula[1]})
    (text,) = json.loads(lrrun(*words, f"scheduler={spec}").out)
    assert text["lr"] == pytest.approx(code["lr"], rel=1e-12)
    assert code["lr"][0] == 1e-3 / 20


def test_a_function_keeps_its_clock(lrrun: Lrrun, folder: Path) -> None:
    words = ("schedule", "mine.yaml", "--allow-code", "--steps-per-epoch", "16", "--json")
    spec = {"name": "LambdaLR", "lr_lambda": "mine:rise_and_root"}
    (epochs,) = json.loads(lrrun(*words, f"scheduler={json.dumps(spec)}").out)
    assert epochs["lr"][:17] == [1e-3 / 20] * 16 + [1e-3 * 2 / 20]
    spec["interval"] = "step"
    (steps,) = json.loads(lrrun(*words, f"scheduler={json.dumps(spec)}").out)
    assert steps["lr"][:2] == pytest.approx([1e-3 / 20, 1e-3 * 2 / 20])


def test_the_loop_of_the_page_runs() -> None:
    names: dict[str, Any] = {}
    exec(blocks("python")[1], names)
    assert names["scheduler"].get_last_lr() == pytest.approx([3e-4 * 4 / 51])


def test_an_import_path_on_the_command_line_alone_is_told_where_it_stands(
    lrrun: Lrrun, folder: Path
) -> None:
    refused = lrrun("schedule", "lambda factor=mine:rise_and_root")
    assert refused.code == 2
    assert "stands in a config, and needs --allow-code" in refused.err


def test_a_module_that_is_not_there_is_told_where_it_was_looked_for(
    lrrun: Lrrun, folder: Path
) -> None:
    refused = lrrun("check", "mine.yaml", "--allow-code", "model=yours:Net")
    assert "there is no module 'yours' (looked beside the config" in refused.err
    assert "PYTHONPATH=FOLDER" in refused.err

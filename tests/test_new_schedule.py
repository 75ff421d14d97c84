"""A new schedule is one decorated function: everything else finds it by itself."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lrrun.schedules.catalogue import CATALOGUE

SOURCE = '''
"""Schedules of a newcomer."""

from __future__ import annotations

import numpy as np

from lrrun.schedules.base import Curve, Span
from lrrun.schedules.catalogue import register
from lrrun.units import Length


@register("halving")
def halving(span: Span, *, every: Length) -> Curve:
    """Half the LR every so often.

    lr(s) = start · 2^-floor(s/every).

    Source: nobody in particular, https://example.org.
    """
    length = span.resolve("every", every, at_least=1)
    return lambda s: span.start * 0.5 ** np.floor(s / length)
'''


@pytest.fixture
def newcomer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One file, imported, and forgotten again."""
    (tmp_path / "halving_of_a_newcomer.py").write_text(SOURCE, "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.import_module("halving_of_a_newcomer")
    yield
    CATALOGUE.pop("halving")
    sys.modules.pop("halving_of_a_newcomer")


@pytest.mark.usefixtures("newcomer")
def test_one_function_is_found_everywhere(lrrun: Callable[..., Any], empty_folder: Path) -> None:
    listed = json.loads(lrrun("components", "scheduler", "--json").out)["scheduler"]
    (entry,) = [each for each in listed if each["name"] == "halving"]
    assert entry == {
        "name": "halving",
        "parameters": "every",
        "summary": "Half the LR every so often.",
    }
    (seen,) = json.loads(lrrun("schedule", "halving every=25%", "--steps", "8", "--json").out)
    assert seen["lr"] == [1.0, 1.0, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125]

    config = empty_folder / "c.yaml"
    config.write_text(
        "model: mlp\ndataset: digits\noptimizer: {name: sgd, lr: 0.8}\ntrain: {epochs: 1}\n"
        "scheduler: {name: halving, every: 5 steps}\n"
    )
    assert lrrun("check", config).code == 0
    typo = lrrun("check", config, "scheduler.evry=5")
    assert (typo.code, "did you mean every?" in typo.err) == (2, True)
    assert lrrun("train", config, "--quiet").code == 0
    (row,) = [
        line for line in Path("runs/c-1/steps.csv").read_text().splitlines() if line[:3] == "22,"
    ]
    assert row.split(",")[1] == "0.05"
    assert json.dumps("halving") in lrrun("schema").out

    from lrrun.render.gallery import write

    write(empty_folder / "docs")
    page = (empty_folder / "docs" / "schedules.md").read_text("utf-8")
    assert "### halving" in page
    assert (empty_folder / "docs" / "schedules" / "halving.svg").exists()

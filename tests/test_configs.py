"""Every shipped config and template is sound, and trains: a few steps of each."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lrrun.config.templates import summaries, template_text

CONFIGS = sorted((Path(__file__).parent.parent / "configs").glob("*.yaml"))


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_a_shipped_config_smokes(file: Path, lrrun: Callable[..., Any]) -> None:
    done = lrrun("train", file, "--smoke", "--json")
    assert done.code == 0, done.err
    (run,) = json.loads(done.out)
    assert run["status"] == "completed"
    assert run["step"] <= 20


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_the_header_says_purpose_command_and_result(file: Path) -> None:
    purpose, command, expected, *_ = file.read_text("utf-8").splitlines()
    assert purpose.startswith("# Purpose:  ")
    assert command == f"# Command:  lrrun train configs/{file.name}"
    assert re.match(r"# Expected: val_\w+ [\d.]+.* in [\d.]+ (s|min)", expected), expected


@pytest.mark.parametrize("name", summaries())
def test_a_template_checks(name: str, lrrun: Callable[..., Any], empty_folder: Path) -> None:
    assert lrrun("init", name).code == 0
    (empty_folder / "data.csv").write_text("a,y\n" + "".join(f"{k},{k}\n" for k in range(100)))
    done = lrrun("check", f"{name}.yaml")
    assert done.code == 0, done.err
    assert lrrun("init", name).code == 2  # what is there is left alone
    assert Path(f"{name}.yaml").read_text() == template_text(name)


def test_an_unknown_template_comes_with_the_nearest(lrrun: Callable[..., Any]) -> None:
    done = lrrun("init", "digit")
    assert done.code == 2
    assert "did you mean digits?" in done.err

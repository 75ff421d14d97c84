"""The README's own commands run, in its own folder layout, and its claims about files hold."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lrrun.schedules import schedule
from lrrun.schedules.base import Curve, Span
from lrrun.schedules.catalogue import CATALOGUE, register
from lrrun.units import Length

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", README, flags=re.DOTALL)


def test_the_commands_of_the_readme_run(lrrun: Callable[..., Any], empty_folder: Path) -> None:
    shutil.copytree(ROOT / "configs", empty_folder / "configs")
    commands = [
        line[2:] for block in blocks("console") for line in block.splitlines() if line[:2] == "$ "
    ]
    assert len(commands) >= 4
    for command in commands:
        program, *arguments = shlex.split(command)
        assert program == "lrrun"
        done = lrrun(*arguments)
        assert done.code == 0, (command, done.err)
    assert lrrun("train", "runs/digits-cosine-1/config.yaml", "--smoke").code == 0
    listed = set(re.findall(r"^  (\S+?)/? {2,}", README, flags=re.MULTILINE))
    there = {each.name for each in (empty_folder / "runs" / "digits-cosine-1").iterdir()}
    assert there == {name for name in listed if name != "-"}


def test_the_yaml_of_the_readme_is_a_config(lrrun: Callable[..., Any], empty_folder: Path) -> None:
    whole, parts = blocks("yaml")
    config = empty_folder / "c.yaml"
    config.write_text(whole)
    assert lrrun("check", config).code == 0
    config.write_text(re.sub(r"scheduler:.*\n", "", whole) + parts)
    assert lrrun("check", config).code == 0


def test_the_schedule_of_the_readme_works_and_is_six_lines() -> None:
    (code,) = blocks("python")
    assert len(code.strip().splitlines()) <= 6
    names = {"register": register, "Span": Span, "Length": Length, "Curve": Curve, "np": np}
    try:
        exec("from __future__ import annotations\n" + code, names)
        halving = schedule("halving", lr=0.8, steps=100, every="25%")
        assert halving([0, 24, 25, 99]).tolist() == [0.8, 0.8, 0.4, 0.1]
    finally:
        CATALOGUE.pop("halving", None)


def test_the_readme_is_short_and_its_counts_are_true() -> None:
    assert len(README.splitlines()) <= 150
    words = {"Seventeen": len(list((ROOT / "configs").glob("*.yaml")))}
    for word, number in words.items():
        assert word in README
        assert number == 17

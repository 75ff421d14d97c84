"""What forks share with the runs that they were forked from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from lrrun.records import Outcome
from lrrun.runlog.info import read_info, write_info
from lrrun.runlog.lineage import trunks
from lrrun.runlog.reader import Run
from lrrun.runlog.writer import RunWriter


def make(runs: Path, name: str, of: Run | None = None, at: int = 0) -> Run:
    info: dict[str, Any] = {"config": {"name": name}}
    if of is not None:
        info["parent"] = {"run": of.name, "id": of.info["id"], "step": at}
    with RunWriter.create(runs, name, "x: 1\n", ("all",), info) as writer:
        writer.finish(Outcome("completed", "done", 10))
    return Run.open(writer.path)


def told(runs: list[Run]) -> tuple[list[tuple[str, int]], list[str]]:
    found, missing = trunks(runs)
    return [(each.run.name, each.steps) for each in found], missing


def test_a_shared_trunk_comes_once_as_long_as_the_longest_needs_it(tmp_path: Path) -> None:
    trunk = make(tmp_path, "trunk")
    forks = [make(tmp_path, f"fork{at}", trunk, at) for at in (30, 70, 50)]
    assert told(forks) == ([("trunk-1", 70)], [])
    assert told([trunk]) == ([], [])


def test_a_trunk_that_is_given_is_left_out(tmp_path: Path) -> None:
    trunk = make(tmp_path, "trunk")
    assert told([make(tmp_path, "fork", trunk, 30), trunk]) == ([], [])


def test_a_trunk_that_is_a_fork_has_its_own(tmp_path: Path) -> None:
    root = make(tmp_path, "root")
    middle = make(tmp_path, "middle", root, 20)
    assert told([make(tmp_path, "fork", middle, 60)]) == ([("middle-1", 60), ("root-1", 20)], [])


def test_a_run_that_came_from_itself_ends_the_search(tmp_path: Path) -> None:
    run = make(tmp_path, "a")
    write_info(run.path, {**run.info, "parent": {"run": "a-1", "id": run.info["id"], "step": 5}})
    fork = make(tmp_path, "fork", run, 9)
    assert told([fork]) == ([("a-1", 9)], [])


def test_a_trunk_that_is_gone_or_another_run_is_said(tmp_path: Path) -> None:
    trunk = make(tmp_path, "trunk")
    fork = make(tmp_path, "fork", trunk, 30)
    said = "fork-1 was forked from trunk-1, which is not beside it: its first 30 steps"
    write_info(trunk.path, {**trunk.info, "id": "another"})
    assert told([fork])[1][0].startswith(said)
    shutil.rmtree(trunk.path)
    found, missing = told([fork])
    assert not found and missing[0].startswith(said)


@pytest.mark.parametrize("name", ["../outside", "..", "link", "/etc", ""])
def test_a_name_never_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    runs = tmp_path / "runs"
    outside = make(tmp_path, "outside")
    shutil.copy(outside.path / "run.json", tmp_path / "run.json")
    outside.path.rename(tmp_path / "outside")
    fork = make(runs, "fork", outside, 30)
    (runs / "link").symlink_to(tmp_path / "outside")
    write_info(fork.path, {**read_info(fork.path), "parent": {**fork.info["parent"], "run": name}})
    found, missing = told([Run.open(fork.path)])
    assert not found and len(missing) == 1


@pytest.mark.parametrize("parent", [None, "trunk-1", {"run": "trunk-1"}, {"run": 1, "id": 2}])
def test_a_parent_that_says_too_little_is_none(tmp_path: Path, parent: Any) -> None:
    run = make(tmp_path, "a")
    write_info(run.path, {**run.info, "parent": parent})
    assert json.loads((run.path / "run.json").read_text())["parent"] == parent
    assert told([Run.open(run.path)]) == ([], [])

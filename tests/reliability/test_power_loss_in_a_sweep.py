"""A sweep waits for the disk only where a row is not to be had again from its run."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from lrrun.runlog.disk import Disk
from lrrun.runlog.sweeps import Row, SweepWriter, read_plan, read_rows


def row(trial: int) -> Row:
    return Row(trial, {"lr": "0.1"}, "completed", "done", {"val_loss": 0.5}, 7, f"trial-{trial}-1")


def begin(root: Path) -> SweepWriter:
    return SweepWriter.create(root, "a", "plan: 1\n", ("lr",), ("val_loss",))


def test_what_a_sweep_waits_for_does_not_grow_with_its_trials(tmp_path: Path, use_disk) -> None:
    waited: list[int] = []

    class Counting(Disk):
        def sync(self, descriptor: int) -> None:
            waited.append(descriptor)

    use_disk(Counting())
    counts = []
    for trials in (2, 117):
        waited.clear()
        with begin(tmp_path) as writer:
            for number in range(trials):
                writer.write(row(number + 1))
            writer.finish()
        counts.append(len(waited))
    assert counts == [3, 3]  # trials.csv and sweep.yaml as they begin, trials.csv at its end


@pytest.mark.parametrize("numbers", [(1, 2, 3, 4), (2, 1, 4, 3)], ids=["in order", "not in order"])
def test_no_cut_takes_a_row_that_a_plan_was_made_from_or_the_end_has_announced(
    tmp_path: Path, use_disk, remembering_disk, numbers: tuple[int, ...]
) -> None:
    """Batch 2 is planned after two trials; whatever is cut, the table can be read and gone on."""
    root = tmp_path / "disk"
    root.mkdir()
    disk = use_disk(remembering_disk(root))
    finished = False
    fresh = (tmp_path / str(number) for number in itertools.count())
    rows_left: list[set[int]] = []

    def look() -> None:
        for tree in disk.states():
            if tree.get("a-1/sweep.yaml") is None:
                continue
            left = lay_out(tree, next(fresh)) / "a-1"
            rows = {each.trial for each in read_rows(left)}
            rows_left.append(rows)
            assert rows <= {*numbers}
            assert not finished or rows == {*numbers}
            assert read_plan(left) == "plan: 1\n" or rows >= {*numbers[:2]}

    disk.after = look
    with begin(root) as writer:
        for number in numbers[:2]:
            writer.write(row(number))
        writer.plan("plan: 2\n")
        for number in numbers[2:]:
            writer.write(row(number))
        writer.finish()
        finished = True
        look()
    assert set() in rows_left and {*numbers[:2]} in rows_left


def lay_out(tree: dict[str, Any], root: Path) -> Path:
    root.mkdir()
    for name, content in tree.items():
        if content is None:
            (root / name).mkdir()
        else:
            (root / name).write_bytes(content)
    return root


def test_rows_behind_zeros_are_left_out_and_written_again(tmp_path: Path) -> None:
    with begin(tmp_path) as writer:
        for number in (1, 2, 3):
            writer.write(row(number))
    table = writer.path / "trials.csv"
    first, second, third, fourth = table.read_bytes().splitlines(keepends=True)
    table.write_bytes(first + second + bytes(len(third)) + fourth)
    assert [each.trial for each in read_rows(writer.path)] == [1]
    with SweepWriter.reopen(writer.path, ("lr",), ("val_loss",)) as again:
        again.write(row(2))
    assert [each.trial for each in read_rows(writer.path)] == [1, 2]

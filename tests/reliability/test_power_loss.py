"""Power goes: in every state that the disk can be in then, what was announced is there.

kill -9 cannot test an fsync, as the kernel still writes what it was given. So the operations of a
run are remembered, and the states that a cut after each of them can leave are made one by one:

- of a file that was written to since its last fsync: nothing of it, half, all, or zeros as long
  (all such files alike, or one of them lost and the others whole);
- of the names changed in a folder since its last fsync: the first few, in order (as ext4 and xfs
  keep them), each folder for itself.

The model is that of Pillai et al., All File Systems Are Not Created Equal (OSDI 2014), with
directory operations in order.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lrrun.errors import LrrunError, UnusableFile
from lrrun.runlog import files
from lrrun.runlog.continuation import check_tables
from lrrun.runlog.info import read_info
from lrrun.runlog.log import Log, Mark, cut_at
from lrrun.runlog.reader import Run, list_runs
from lrrun.runlog.writer import RunWriter
from lrrun.training.checkpoint_store import Store

CONFIG = "x: 1\n"
HEADERS = {
    "epochs.csv": "epoch,step,samples,lr,train_loss,val_loss\n",
    "steps.csv": "step,lr,loss\n",
    "timing.csv": "epoch,step,seconds,samples_per_second\n",
}
Tree = dict[str, "bytes | None"]
"""Every path below the root: a file's content, or None for a folder."""


def lay_out(tree: Tree, root: Path) -> None:
    root.mkdir()
    for name, content in tree.items():
        if content is None:
            (root / name).mkdir()
        else:
            (root / name).write_bytes(content)


def check_announced(path: Path, announced: int) -> None:
    """The newest checkpoint is no older than the last one announced; its rows and config are there.

    Before the first, what is left is a run or one that says what is wrong with it.
    """
    if not announced:
        for left in list_runs(path.parent):
            assert isinstance(left, Run) or "run.json" in left.problem
        return
    assert (path / "config.yaml").read_text() == CONFIG
    found = Store(path / "checkpoints", read_info(path)["id"]).newest_good()
    assert found is not None and found.content["step"] >= announced
    check_tables(path, HEADERS, found.content["logs"])


def cut_everywhere(tmp_path: Path, run: Any, disk: Any, action: Callable[[], object]) -> list[int]:
    """Check every state that a cut after any operation of `action` can leave; how many there are.

    As a list: the states in which 0, 1, 2, ... checkpoints had been announced.
    """
    seen: set[int] = set()
    counts = [0, 0, 0, 0]
    folder = tmp_path / "cut"

    def look() -> None:
        announced = max(run.announced, default=0)
        for tree in disk.states():
            key = hash((announced, tuple(sorted(tree.items()))))
            if key in seen:
                continue
            seen.add(key)
            counts[len(run.announced)] += 1
            lay_out(tree, folder)
            try:
                check_announced(folder / "a-1", announced)
            finally:
                for path in sorted(folder.rglob("*"), reverse=True):
                    path.rmdir() if path.is_dir() else path.unlink()
                folder.rmdir()

    disk.after = look
    action()
    look()
    return counts


@pytest.fixture
def parts(tmp_path: Path, use_disk, remembering_disk, small_run) -> Any:
    """A small run on a disk that remembers."""
    root = tmp_path / "disk"
    root.mkdir()

    def make(wrap: Callable[[type], type] = lambda kind: kind) -> Any:
        disk = use_disk(wrap(remembering_disk)(root))
        return small_run(root), disk

    return make


def test_no_cut_of_a_run_loses_what_was_announced(tmp_path: Path, parts) -> None:
    run, disk = parts()
    counts = cut_everywhere(tmp_path, run, disk, run.begin)
    assert run.announced == [3, 5, 7]
    assert min(counts[:3]) > 20


def test_no_cut_of_a_run_that_is_saved_but_once_loses_it(tmp_path: Path, parts) -> None:
    run, disk = parts()
    run.checkpoints = ()
    counts = cut_everywhere(tmp_path, run, disk, run.begin)
    assert run.announced == [7]
    assert counts[0] > 100 and counts[1]


def test_what_a_cut_leaves_of_a_beginning_resumes_or_is_refused(
    tmp_path: Path, parts, straight, small_run, use_disk, fast_disk
) -> None:
    """Nobody waits for the disk before the first checkpoint; nothing is bent all the same."""
    run, disk = parts()
    run.checkpoints, run.stop_at = (), 2
    run.begin()
    left = [*disk.states()]
    use_disk(fast_disk())
    refused = 0
    for k, tree in enumerate(left):
        again = small_run(tmp_path / str(k))
        lay_out(tree, again.runs)
        try:
            assert again.resume() == 0
        except UnusableFile:
            refused += 1
            continue
        assert again.result() == straight
    assert 0 < refused < len(left)


def test_no_cut_of_a_resume_loses_what_was_announced(tmp_path: Path, parts) -> None:
    run, disk = parts()
    run.stop_at = 4
    run.begin()
    run.stop_at = 7
    counts = cut_everywhere(tmp_path, run, disk, run.resume)
    assert run.announced == [3, 5, 7]
    assert min(counts[1:3]) > 20


def test_no_cut_takes_the_best_weights_that_a_state_counts_on(
    tmp_path: Path, use_disk, remembering_disk
) -> None:
    """best.pt is written first, and the save after it makes sure of its name as well."""
    root = tmp_path / "disk"
    root.mkdir()
    disk = use_disk(remembering_disk(root))
    store, folder = Store(root, "r"), tmp_path / "cut"
    announced, counted = [0], [0]

    def look() -> None:
        for tree in disk.states():
            lay_out(tree, folder)
            left = Store(folder, "r")
            found = left.newest_good() if any(name.endswith(".pt") for name in tree) else None
            step = found.content["step"] if found and found.path.name != "best.pt" else 0
            assert step >= announced[0]
            assert not step or left.load("best.pt")["step"] >= step
            counted[0] += 1
            for path in folder.iterdir():
                path.unlink()
            folder.rmdir()

    disk.after = look
    for step in (1, 2, 3):
        store.save_best({"step": step}, sync_name=False)
        store.save_last({"step": step})
        announced[0] = step
    assert counted[0] > 100


def _write_new(path: Path) -> Callable[[Path], object]:
    files.write_new_text(path, "new\n")
    return Path.read_text


def _make_folder(path: Path) -> Callable[[Path], object]:
    files.make_folder(path)
    return Path.iterdir


def _replace(path: Path) -> Callable[[Path], object]:
    files.write_text(path, "old\n")
    files.write_text(path, "new\n")
    return lambda left: _expect(left.read_text() == "new\n")


def _save_kept(path: Path) -> Callable[[Path], object]:
    Store(path.parent, "r").save_kept({"step": 4})
    return lambda left: Store(left.parent, "r").load("step-4.pt")


def _cut_log(path: Path) -> Callable[[Path], object]:
    files.write_text(path, "kept\nsuperseded\n")
    cut_at(path, Mark(len("kept\n"), ""))
    return lambda left: _expect(left.read_text() == "kept\n")


def _expect(holds: bool) -> None:
    assert holds


@pytest.mark.parametrize("write", [_write_new, _make_folder, _replace, _save_kept, _cut_log])
def test_what_has_been_written_outlives_any_cut(
    tmp_path: Path, use_disk, remembering_disk, write
) -> None:
    root = tmp_path / "disk"
    root.mkdir()
    disk = use_disk(remembering_disk(root))
    is_there = write(root / "it")
    left = [*disk.states()]
    assert left
    for k, tree in enumerate(left):
        lay_out(tree, tmp_path / f"cut-{k}")
        is_there(tmp_path / f"cut-{k}" / "it")


def test_after_any_cut_a_resume_ends_as_the_straight_run(
    tmp_path: Path, parts, straight, small_run, use_disk, fast_disk
) -> None:
    """For a cut after every announcement, in each of its states."""
    run, disk = parts()
    trees: dict[int, list[Tree]] = {}
    run.on_save = lambda step: trees.update({step: [*disk.states()]})
    run.begin()
    assert set(trees) == {3, 5, 7}
    use_disk(fast_disk())
    for step, left in trees.items():
        for k, tree in enumerate(left):
            again = small_run(tmp_path / f"{step}-{k}")
            lay_out(tree, again.runs)
            assert again.resume() == step
            assert again.result() == straight


def _no_sync(kind: type) -> type:
    return type("NoSync", (kind,), {"sync": lambda self, descriptor: None})


def _no_folder_sync(kind: type) -> type:
    return type("NoFolderSync", (kind,), {"sync_folder": lambda self, folder: None})


def _in_place(kind: type) -> type:
    """Writes where the file is to be, instead of beside it."""

    def target(path: Path) -> Path:
        temporary = path.name.startswith(".") and path.name.endswith(".tmp")
        return path.with_name(path.name[1:].rsplit(".", 2)[0]) if temporary else path

    def replace(self: Any, source: Path, name: Path) -> None:
        if target(source) == source:
            kind.replace(self, source, name)  # type: ignore[attr-defined]

    def opened(self: Any, path: Path, flags: int) -> Any:
        return kind.open(self, target(path), flags)  # type: ignore[attr-defined]

    return type("InPlace", (kind,), {"open": opened, "replace": replace})


@pytest.mark.parametrize("mutation", [_no_sync, _no_folder_sync, _in_place])
def test_a_cut_shows_a_disk_that_is_used_wrongly(tmp_path: Path, parts, mutation) -> None:
    run, disk = parts(wrap=mutation)
    with pytest.raises((AssertionError, LrrunError)):
        cut_everywhere(tmp_path, run, disk, run.begin)


def test_a_cut_shows_logs_that_are_not_synced(tmp_path: Path, parts, monkeypatch) -> None:
    monkeypatch.setattr(Log, "sync", lambda log: log.mark)
    run, disk = parts()
    with pytest.raises((AssertionError, LrrunError)):
        cut_everywhere(tmp_path, run, disk, run.begin)


@pytest.mark.parametrize("checkpoints", [(3, 5), ()])
def test_a_cut_shows_a_run_that_is_not_settled(
    tmp_path: Path, parts, monkeypatch, checkpoints: tuple[int, ...]
) -> None:
    begin = RunWriter.__init__

    def settled(writer: RunWriter, *arguments: Any) -> None:
        begin(writer, *arguments)
        writer._settled = True

    monkeypatch.setattr(RunWriter, "__init__", settled)
    run, disk = parts()
    run.checkpoints = checkpoints
    with pytest.raises((AssertionError, LrrunError)):
        cut_everywhere(tmp_path, run, disk, run.begin)


def test_the_model_knows_what_an_fsync_is_for(tmp_path: Path, parts) -> None:
    """By hand: a file written, named and not synced can be empty, half, whole, zeros or absent."""
    _, disk = parts()
    root = disk.root_path
    descriptor = disk.open(root / "a", os.O_WRONLY | os.O_CREAT)
    disk.write(descriptor, memoryview(b"1234"))
    left = [tree.get("a") for tree in disk.states()]
    assert {*left} == {None, b"", b"12", b"1234", bytes(4)}
    disk.sync(descriptor)
    assert {tree.get("a") for tree in disk.states()} == {None, b"1234"}
    disk.sync_folder(root)
    assert {tree.get("a") for tree in disk.states()} == {b"1234"}
    disk.close(descriptor)
    disk.replace(root / "a", root / "b")
    assert [*disk.states()][:2] == [{"a": b"1234"}, {"b": b"1234"}]

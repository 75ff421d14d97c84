"""The checkpoints of a run: the newest whole one is found, and never lost."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lrrun.errors import UnusableFile
from lrrun.training.checkpoint_files import load, save
from lrrun.training.checkpoint_store import Store


def test_the_store_keeps_the_latest_the_best_and_the_kept(tmp_path: Path) -> None:
    store = Store(tmp_path, "r", last=3)
    assert store.newest_good() is None
    for step in range(1, 6):
        store.save_last({"step": step})
    store.save_best({"step": 4})
    store.save_kept({"step": 2})
    store.save_kept({"step": 10})
    held = {path.name: load(path)["step"] for path in tmp_path.iterdir()}
    assert held == {
        "last.pt": 5,
        "previous.pt": 4,
        "previous-2.pt": 3,
        "best.pt": 4,
        "step-2.pt": 2,
        "step-10.pt": 10,
    }
    assert store.kept_steps() == [2, 10]
    found = store.newest_good()
    assert found is not None and (found.path.name, found.notes) == ("step-10.pt", ())


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_it_falls_back_to_the_newest_good_one_and_says_so(tmp_path: Path, keep: int) -> None:
    store = Store(tmp_path, "r", last=keep)
    for step in (10, 20, 30, 40):
        store.save_last({"step": step})
        if step == 20:
            store.save_kept({"step": step})
    expected = {1: 20, 2: 30, 3: 30}[keep]
    (tmp_path / "last.pt").write_bytes(b"")
    found = store.newest_good()
    assert found is not None and found.content["step"] == expected
    assert "last.pt: truncated" in found.notes[0] and f"step {expected}" in found.notes[-1]
    assert (tmp_path / "last.pt").exists()  # a reader moves nothing
    store.newest_good(set_aside=True)
    assert (tmp_path / "last.pt.bad").exists() and not (tmp_path / "last.pt").exists()


def test_a_missing_last_is_said_too(tmp_path: Path) -> None:
    store = Store(tmp_path, "r")
    for step in (1, 2):
        store.save_last({"step": step})
    (tmp_path / "last.pt").unlink()
    found = store.newest_good(set_aside=True)
    assert found is not None and found.content["step"] == 1
    assert found.notes[0].endswith("last.pt: missing")


def test_where_none_is_good_it_stops_and_moves_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path, "r")
    for step in (1, 2):
        store.save_last({"step": step})
    for name in ("last.pt", "previous.pt"):
        (tmp_path / name).write_bytes(b"junk")
    with pytest.raises(UnusableFile, match=r"no checkpoint is whole: .*last\.pt.*previous\.pt"):
        store.newest_good(set_aside=True)
    assert {path.name for path in tmp_path.iterdir()} == {"last.pt", "previous.pt"}
    (tmp_path / "previous.pt").unlink()
    (tmp_path / "last.pt").rename(tmp_path / "last.pt.bad")
    with pytest.raises(UnusableFile, match="set aside"):
        store.newest_good()  # and does not start from zero by itself


def test_checkpoints_of_another_run_or_step_are_refused(tmp_path: Path) -> None:
    mine, other = Store(tmp_path / "mine", "r"), Store(tmp_path / "other", "s")
    for store in (mine, other):
        store.folder.mkdir()
        store.save_last({"step": 92})
        store.save_kept({"step": 92})
    shutil.copy(other.folder / "last.pt", mine.folder / "last.pt")
    with pytest.raises(UnusableFile, match=r"last\.pt: belongs to another run \('s'\)"):
        mine.load("last.pt")
    shutil.copy(mine.folder / "step-92.pt", mine.folder / "step-138.pt")
    with pytest.raises(UnusableFile, match=r"step-138\.pt: refused: its name says another step"):
        mine.load("step-138.pt")
    found = mine.newest_good()
    assert found is not None and found.path.name == "step-92.pt" and len(found.notes) == 3
    save(mine.folder / "last.pt", {"run": "r", "step": "92"})
    with pytest.raises(UnusableFile, match="it has no step"):
        mine.load("last.pt")
    with pytest.raises(TypeError, match="step"):
        mine.save_last({"step": 1.0})

"""Each file of a run is deleted, emptied, cut, zeroed, flipped: the same data or a clear error."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lrrun.errors import LrrunError
from lrrun.runlog.reader import Run

FILES = (
    *("config.yaml", "run.json", "epochs.csv", "steps.csv", "timing.csv"),
    *("checkpoints/last.pt", "checkpoints/previous.pt"),
)

DAMAGES: dict[str, Callable[[bytes], bytes | None]] = {
    "deleted": lambda content: None,
    "emptied": lambda content: b"",
    "halved": lambda content: content[: len(content) // 2],
    "cut by a byte": lambda content: content[:-1],
    "a byte more": lambda content: content + b"0",
    "zeroed": lambda content: bytes(len(content)),
    "a page zeroed": lambda content: bytes(min(512, len(content))) + content[512:],
    "upside down": lambda content: content[::-1],
    "twice": lambda content: content * 2,
}


def flipped(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, small_run: Any) -> Path:
    """A folder of two finished runs, a-1 and a-2."""
    runs = tmp_path_factory.mktemp("whole") / "runs"
    for _ in range(2):
        small_run(runs).begin()
        if not (runs / "b-1").exists():
            (runs / "a-1").rename(runs / "b-1")
    return runs


def damage(path: Path, change: Callable[[bytes], bytes | None]) -> None:
    content = change(path.read_bytes())
    path.unlink()
    if content is not None:
        path.write_bytes(content)


def answers(lrrun: Any) -> dict[str, Any]:
    """What the reading commands say: data, or one clear line and exit code 3."""
    said = {}
    for command in (["show", "a-1"], ["compare", "a-1", "b-1"], ["list"]):
        done = lrrun(*command, "--json", "--runs-dir", "runs")
        if done.code == 0:
            said[command[0]] = json.loads(done.out)
        else:
            assert (done.code, done.out) == (3, ""), done
            assert len(done.err.splitlines()) == 1 and done.err.startswith("lrrun: "), done.err
            assert "a-1" in done.err and len(done.err) < 400
            said[command[0]] = None
    if said["show"]:
        del said["show"]["files"]  # their sizes are facts of the folder
    return said


@pytest.mark.parametrize("name", FILES)
def test_reading_commands_say_the_same_or_one_clear_error(
    lrrun: Any, empty_folder: Path, whole: Path, name: str
) -> None:
    shutil.copytree(whole, "runs")
    before = answers(lrrun)
    for change in DAMAGES.values():
        damage(empty_folder / "runs" / "a-1" / name, change)
        after = answers(lrrun)
        for command in ("show", "compare"):
            assert after[command] in (before[command], None)
        read_anyway = [each for each in after["list"] if each["name"] == "b-1"]
        assert read_anyway == [each for each in before["list"] if each["name"] == "b-1"]
        (mine,) = (each for each in after["list"] if each["name"] == "a-1")
        assert mine in before["list"] or mine["status"] == "unreadable"
        if name in ("run.json", "epochs.csv"):
            assert after["show"] is None
        shutil.copy(whole / "a-1" / name, empty_folder / "runs" / "a-1" / name)
    assert answers(lrrun) == before


def everything(path: Path) -> Any:
    run = Run.open(path)
    tables = [
        {name: values.tolist() for name, values in table.items()}
        for table in (run.epochs, run.steps, run.timing)
    ]
    return repr((run.info, run.summary, tables, run.torn))


@pytest.mark.parametrize("name", FILES[1:5])
def test_no_flipped_bit_reads_as_other_numbers(tmp_path: Path, whole: Path, name: str) -> None:
    path = tmp_path / "a-1"
    shutil.copytree(whole / "a-1", path)
    before, content = everything(path), (path / name).read_bytes()
    random.seed(name)
    for bit in random.sample(range(8 * len(content)), 300):
        (path / name).write_bytes(flipped(content, bit))
        with pytest.raises(LrrunError):
            everything(path)
    (path / name).write_bytes(content)
    assert everything(path) == before


@pytest.fixture
def stopped(tmp_path: Path, use_disk, fast_disk, small_run) -> Any:
    """A run that was killed after step 6, with checkpoints of the steps 3 and 5."""
    use_disk(fast_disk())
    run = small_run(tmp_path / "runs", stop_at=6)
    run.begin()
    run.stop_at = 7
    return run


@pytest.mark.parametrize("name", FILES[1:])
def test_a_resume_goes_on_identically_or_stops(
    tmp_path: Path, stopped, straight, name: str
) -> None:
    spare = tmp_path / "spare"
    stopped.path.rename(spare)
    content = (spare / name).read_bytes()
    random.seed(name)
    bits = random.sample(range(8 * len(content)), 20)
    flips = [lambda content, bit=bit: flipped(content, bit) for bit in bits]
    went_on = []
    for change in [*DAMAGES.values(), *flips]:
        shutil.rmtree(stopped.runs, ignore_errors=True)
        shutil.copytree(spare, stopped.path)
        damage(stopped.path / name, change)
        try:
            went_on.append(stopped.resume())
        except LrrunError as error:
            assert error.exit_code == 3 and len(str(error).splitlines()) == 1
            assert not (stopped.path / "superseded").exists()
            continue
        assert stopped.result() == straight
    if name == "run.json":
        assert went_on == []
    elif name == "checkpoints/last.pt":
        assert went_on == [3] * (len(DAMAGES) + len(flips))
        assert (stopped.path / "checkpoints" / "last.pt.bad").exists()
    elif name == "checkpoints/previous.pt":
        assert went_on == [5] * (len(DAMAGES) + len(flips))
    else:  # rows after the checkpoint do not matter: they are made again
        assert set(went_on) <= {5}


@pytest.mark.parametrize("folder", [True, False])
def test_without_any_checkpoint_it_starts_again_and_loses_no_row(
    stopped, straight, folder: bool
) -> None:
    shutil.rmtree(stopped.path / "checkpoints")
    if folder:
        (stopped.path / "checkpoints").mkdir()
    assert stopped.resume() == 0
    assert stopped.result() == straight
    kept = (stopped.path / "superseded" / "steps-1.csv").read_text().splitlines()
    assert len(kept) == 1 + 6


@pytest.mark.parametrize("name", ["checkpoints", "superseded"])
def test_a_folder_that_is_a_link_is_not_written_through(tmp_path: Path, stopped, name) -> None:
    outside = tmp_path / "outside"
    if name == "checkpoints":
        (stopped.path / name).rename(outside)
    else:
        outside.mkdir()
    (stopped.path / name).symlink_to(outside)
    before = {path: path.read_bytes() for path in outside.iterdir()}
    with pytest.raises(LrrunError, match=f"{name}' is a link"):
        stopped.resume()
    assert {path: path.read_bytes() for path in outside.iterdir()} == before

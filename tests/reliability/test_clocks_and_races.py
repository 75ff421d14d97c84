"""Clocks that jump, many processes at the same moment, and folders of another version."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from lrrun.errors import RunBusy
from lrrun.runlog import writer
from lrrun.runlog.info import SCHEMA_VERSION, read_info, write_info
from lrrun.runlog.reader import Run, list_runs
from lrrun.runlog.writer import RunWriter
from lrrun.training import checkpoint_files

Lrrun = Callable[..., Any]

CONFIG = """\
name: a
model: {name: mlp, hidden: [4], dropout: 0.2}
dataset: {name: digits, batch_size: 256}
optimizer: {name: adam, lr: 0.01}
scheduler: {name: cosine}
train: {epochs: 3, device: cpu, threads: 1}
checkpoint: {every: 4 steps, last: 3}
"""

DAY, DECADE = 86_400.0, 315_360_000.0
PROCESSES, ROUNDS = 5, 100


@pytest.fixture
def config(empty_folder: Path) -> Path:
    file = empty_folder / "c.yaml"
    file.write_text(CONFIG)
    return file


def numbers(run: str) -> dict[str, bytes]:
    return {name: Path(f"runs/{run}/{name}").read_bytes() for name in ("epochs.csv", "steps.csv")}


def forget_the_end(path: Path, *checkpoints: str) -> None:
    """Leave a completed run as a kill before these checkpoints would have."""
    for name in checkpoints:
        (path / "checkpoints" / name).unlink()
    write_info(path, read_info(path) | {"status": "running"})


def jump_about(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wall clock goes a day back and ten years forward, one after the other."""
    jumps = iter([-DAY, DECADE, -DAY, 1.0] * 10_000)
    real = time.time

    class Jumping(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.fromtimestamp(real(), timezone.utc) + timedelta(seconds=next(jumps))

    monkeypatch.setattr(time, "time", lambda: real() + next(jumps))
    monkeypatch.setattr(writer, "datetime", Jumping)


def test_f13_a_wall_clock_that_jumps_changes_no_number(
    lrrun: Lrrun, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert lrrun("train", config, "-q").code == 0
    jump_about(monkeypatch)
    assert lrrun("train", config, "-q").code == 0
    kept = Path("runs/a-2/checkpoints")
    steps = {each.name: checkpoint_files.load(each)["step"] for each in kept.glob("*.pt")}
    assert (steps["last.pt"], steps["previous.pt"], steps["previous-2.pt"]) == (18, 16, 12)
    forget_the_end(Path("runs/a-2"), "last.pt")
    for k, each in enumerate(sorted(Path("runs/a-2").rglob("*"))):
        os.utime(each, (DECADE * (k % 3), DECADE * (k % 3)))  # 1970, 1980, 1990
    assert lrrun("resume", "a-2", "-q").code == 0
    assert read_info(Path("runs/a-2"))["resumed"][0]["step"] == 16
    assert numbers("a-2") == numbers("a-1")
    for name in ("a-1", "a-2"):
        timing = Run.open(Path("runs") / name).timing
        assert (timing["seconds"] >= 0).all()
    assert (
        lrrun("list").code == lrrun("show", "a-2").code == lrrun("compare", "a-1", "a-2").code == 0
    )


def test_f13_a_machine_that_slept_for_years_goes_on(
    lrrun: Lrrun, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the monotonic clock counts sleep, it jumps forward, into the default saving too."""
    text = config.read_text().replace("checkpoint: {every: 4 steps, last: 3}\n", "")
    config.write_text(text)
    assert lrrun("train", config, "-q").code == 0
    real, asked = time.perf_counter, [0]

    def sleepy() -> float:
        asked[0] += 1
        return real() + DECADE * (asked[0] // 5)

    monkeypatch.setattr(time, "perf_counter", sleepy)
    assert lrrun("train", config, "-q").code == 0
    monkeypatch.setattr(time, "perf_counter", real)
    assert asked[0] > 10
    assert numbers("a-2") == numbers("a-1")
    assert lrrun("show", "a-2").code == 0


def _create_many(runs: Path, barrier: Any, results: Any) -> None:
    made = []
    for _ in range(ROUNDS // 5):
        barrier.wait()
        with RunWriter.create(runs, "a", "x: 1\n", ("all",), {"config": {}}) as created:
            made.append(created.path.name)
    results.put(made)


def _reopen_many(path: Path, barrier: Any, results: Any) -> None:
    won, busy = 0, 0
    for _ in range(ROUNDS):
        barrier.wait()
        held = None
        try:
            held = RunWriter.reopen(path, 0, None, ("all",))
            won += 1
        except RunBusy as error:
            assert "is being written by process" in str(error) or "another process" in str(error)
            busy += 1
        barrier.wait()
        if held is not None:
            held.close()
    results.put((won, busy))


def race(work: Callable[..., None], where: Path, meanwhile: Callable[[], None]) -> list[Any]:
    """What each of the processes says that did `work` at the same moments."""
    fork = multiprocessing.get_context("fork")
    barrier, results = fork.Barrier(PROCESSES), fork.Queue()
    processes = [
        fork.Process(target=work, args=(where, barrier, results)) for _ in range(PROCESSES)
    ]
    for each in processes:
        each.start()
    while any(each.is_alive() for each in processes) and results.qsize() < PROCESSES:
        meanwhile()
    said = [results.get(timeout=60) for _ in processes]
    for each in processes:
        each.join()
    assert [each.exitcode for each in processes] == [0] * PROCESSES
    return said


def test_f14_runs_of_one_name_get_a_folder_each(
    tmp_path: Path, use_disk: Any, fast_disk: Any
) -> None:
    use_disk(fast_disk())

    def look() -> None:
        for each in list_runs(tmp_path):
            assert isinstance(each, Run) or "missing" in str(each.problem)

    made = [name for names in race(_create_many, tmp_path, look) for name in names]
    assert len(made) == len(set(made)) == PROCESSES * ROUNDS // 5
    assert {each.name for each in list_runs(tmp_path)} == set(made)


def test_f14_of_many_that_resume_one_run_one_wins_each_time(
    tmp_path: Path, use_disk: Any, fast_disk: Any
) -> None:
    use_disk(fast_disk())
    with RunWriter.create(tmp_path, "a", "x: 1\n", ("all",), {"config": {}}) as created:
        path = created.path

    def look() -> None:
        (found,) = list_runs(tmp_path)
        assert isinstance(found, Run)
        assert found.steps["step"].size == 0

    said = race(_reopen_many, path, look)
    assert sum(won for won, _ in said) == ROUNDS
    assert sum(busy for _, busy in said) == ROUNDS * (PROCESSES - 1)
    assert len(read_info(path)["resumed"]) == ROUNDS


@pytest.fixture
def stopped(lrrun: Lrrun, config: Path) -> Path:
    assert lrrun("train", config, "-q").code == 0
    forget_the_end(Path("runs/a-1"), "last.pt")
    return Path("runs/a-1")


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (SCHEMA_VERSION + 1, "written by a newer lrrun"),
        (0, "schema_version: expected a number"),
        (None, "schema_version: expected a number"),
    ],
)
def test_f22_a_run_folder_of_another_version_is_refused_by_name(
    lrrun: Lrrun, stopped: Path, version: int | None, message: str
) -> None:
    write_info(stopped, read_info(stopped) | {"schema_version": version})
    before = {each: each.read_bytes() for each in stopped.rglob("*") if each.is_file()}
    for command in (("resume", "a-1"), ("show", "a-1"), ("verify", "a-1")):
        done = lrrun(*command)
        assert done.code == 3
        assert message in done.err
        assert len(done.err.splitlines()) == 1
    listed = lrrun("list", "--json")
    assert listed.code == 0
    assert message in listed.out
    assert {each: each.read_bytes() for each in stopped.rglob("*") if each.is_file()} == before


def test_f22_entries_of_the_future_in_run_json_are_kept_and_not_minded(
    lrrun: Lrrun, stopped: Path
) -> None:
    write_info(stopped, read_info(stopped) | {"weather": {"sun": True}})
    assert lrrun("resume", "a-1", "-q").code == 0
    info = read_info(stopped)
    assert (info["status"], info["weather"]) == ("completed", {"sun": True})


def change_checkpoints(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    for file in (path / "checkpoints").glob("*.pt"):
        content = checkpoint_files.load(file)
        change(content)
        checkpoint_files.save(file, content)


def test_f22_an_entry_of_the_future_in_a_checkpoint_is_not_minded(
    lrrun: Lrrun, config: Path, stopped: Path
) -> None:
    lrrun("train", config, "-q")
    change_checkpoints(stopped, lambda content: content.update(weather=1))
    assert lrrun("resume", "a-1", "-q").code == 0
    assert read_info(stopped)["resumed"][0]["step"] == 16
    assert numbers("a-1") == numbers("a-2")


@pytest.mark.parametrize("missing", ["optimizer", "chance", "tally", "watch", "best", "trail"])
def test_f22_a_checkpoint_that_lacks_a_part_is_refused_by_name(
    lrrun: Lrrun, stopped: Path, missing: str
) -> None:
    """Going on without it would be another run: other losses, and nobody told."""
    change_checkpoints(stopped, lambda content: content.pop(missing, None))
    done = lrrun("resume", "a-1")
    assert done.code == 3, (done.out, done.err)
    assert missing in done.err
    assert "Traceback" not in done.err


def test_f22_a_config_of_the_future_is_refused_by_its_key(lrrun: Lrrun, stopped: Path) -> None:
    file = stopped / "config.yaml"
    file.write_text(file.read_text() + "weather: sunny\n")
    done = lrrun("resume", "a-1")
    assert done.code == 2
    assert "weather: unknown key" in done.err


def test_f09_a_folder_that_turns_read_only_ends_the_run_and_keeps_what_was_there(
    lrrun: Lrrun, config: Path, ordinary_rights: Any
) -> None:
    """Really, in a process that may not do everything."""
    assert lrrun("train", config, "-q").code == 0
    forget_the_end(Path("runs/a-1"), "last.pt")
    Path("runs/a-1/checkpoints").chmod(0o500)
    with ordinary_rights():
        done = lrrun("resume", "a-1")
    Path("runs/a-1/checkpoints").chmod(0o700)
    assert done.code == 5
    assert "you may not write there" in done.err
    assert lrrun("resume", "a-1", "-q").code == 0

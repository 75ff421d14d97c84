"""One writer a run: the lock tells who holds it, and dies with whoever does."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lrrun.errors import EnvironmentFault, RunBusy
from lrrun.runlog import lock
from lrrun.runlog.lock import RunLock

HOLD = (
    "import sys, time; from pathlib import Path; from lrrun.runlog.lock import RunLock\n"
    "held = RunLock(Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"
)


def test_the_second_is_told_who_holds_it(tmp_path: Path) -> None:
    with RunLock(tmp_path) as first:
        text = first.file.read_text()
        with pytest.raises(RunBusy, match=f"process {os.getpid()} on ") as error:
            RunLock(tmp_path)
        assert socket.gethostname() in str(error.value) and str(tmp_path) in str(error.value)
        assert error.value.exit_code == 6
        assert first.file.read_text() == text  # the loser has not touched it
    assert list(tmp_path.iterdir()) == []
    RunLock(tmp_path).release()
    first.release()


def test_it_dies_with_its_owner(tmp_path: Path) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    with owner:
        assert owner.stdout is not None and owner.stdout.readline() == "held\n"
        with pytest.raises(RunBusy, match=f"process {owner.pid} on "):
            RunLock(tmp_path)
        owner.send_signal(signal.SIGKILL)
    assert (tmp_path / "lock").exists()  # and is in nobody's way
    with RunLock(tmp_path) as mine:
        assert mine.file.read_text().startswith(f"process {os.getpid()} on ")


def test_a_forked_child_does_not_keep_it_alive(tmp_path: Path) -> None:
    held = RunLock(tmp_path)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writer)
        os.read(reader, 1)  # until the parent closes its end
        os._exit(0)
    os.close(reader)
    held.release()
    RunLock(tmp_path).release()
    os.close(writer)
    assert os.waitpid(child, 0)[1] == 0


def test_of_many_at_once_one_wins(tmp_path: Path) -> None:
    def attempt(_: int) -> RunLock | None:
        try:
            return RunLock(tmp_path)
        except RunBusy:
            return None

    for _ in range(10):
        with ThreadPoolExecutor(8) as pool:
            winners = [each for each in pool.map(attempt, range(8)) if each]
        assert len(winners) == 1
        winners[0].release()


def test_one_that_was_removed_between_open_and_lock_is_not_taken(tmp_path: Path) -> None:
    """Whoever locks a file that no longer has the lock's name would hold nothing."""
    taken = []

    def lock_too_late(descriptor: int) -> None:
        if not taken:
            (tmp_path / "lock").unlink()
        taken.append(descriptor)
        real(descriptor)

    real = lock._lock
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lock, "_lock", lock_too_late)
        held = RunLock(tmp_path)
    assert len(taken) == 2
    with pytest.raises(RunBusy):
        RunLock(tmp_path)
    held.release()


def test_no_link_is_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("mine")
    (tmp_path / "lock").symlink_to(outside)
    with pytest.raises(EnvironmentFault, match="a link is in the way"):
        RunLock(tmp_path)
    assert outside.read_text() == "mine"


def test_a_file_system_without_locks_is_said(tmp_path: Path, monkeypatch) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock, "_lock", refuse)
    with pytest.raises(EnvironmentFault, match="that file system has no locks"):
        RunLock(tmp_path)


def test_what_stands_in_the_file_is_a_hint_only(tmp_path: Path) -> None:
    with RunLock(tmp_path) as held:
        held.file.write_bytes(b"\xff\x1b[2J" + b"x" * 1000)
        with pytest.raises(RunBusy, match="by another process"):
            RunLock(tmp_path)
    (tmp_path / "lock").write_text("process 1 on nowhere\n")
    RunLock(tmp_path).release()

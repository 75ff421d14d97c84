"""Names and folders of runs, and files that are whole or not there."""

from __future__ import annotations

import errno
import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lrrun.errors import EnvironmentFault, UnusableFile, UsageError
from lrrun.runlog import files
from lrrun.runlog.disk import Disk
from lrrun.runlog.log import Log, Mark
from lrrun.runlog.names import check_name, create_run_folder
from lrrun.runlog.reader import find_run


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "a/b",
        "a..b",
        "a.",
        "-a",
        ".a",
        "a b",
        "é",
        "a\n",
        "x" * 101,
        "a\x1b[2J",
        "a\\b",
    ],
)
def test_names_that_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="run name") as error:
        create_run_folder(tmp_path / "runs", name)
    assert str(error.value).isprintable()
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", ["a", "A.b_c-9", "0", "x" * 100])
def test_names_that_are_taken(name: str) -> None:
    assert check_name(name) == name


def test_numbers_count_on_and_are_never_reused(tmp_path: Path) -> None:
    made = [create_run_folder(tmp_path, "a").name for _ in range(2)]
    (tmp_path / "a-9").mkdir()
    (tmp_path / "a-b-50").mkdir()
    (tmp_path / "a-1").rmdir()
    made.append(create_run_folder(tmp_path, "a").name)
    assert made == ["a-1", "a-2", "a-10"]


def test_many_at_once_get_a_folder_each(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: create_run_folder(tmp_path, "a").name, range(40)))
    assert sorted(made) == sorted(f"a-{n}" for n in range(1, 41))


def test_a_runs_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(UsageError, match="there is a file"):
        create_run_folder(tmp_path / "runs", "a")


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for name in ("digits-1", "digits-10", "text-1", "text-2", "lonely-1"):
        (tmp_path / name).mkdir()
    return tmp_path


def test_references(runs: Path) -> None:
    assert find_run("digits-1", runs) == runs / "digits-1"  # exact, though digits-10 begins so
    assert find_run("lone", runs) == runs / "lonely-1"
    assert find_run(str(runs / "text-2"), Path("nowhere")) == runs / "text-2"


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("text", "ambiguous: text-1, text-2"),
        ("digitz-1", "did you mean digits-1"),
        ("../secret", "no run"),
        ("", "no run"),
    ],
)
def test_references_that_mean_no_run(runs: Path, reference: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        find_run(reference, runs)


def test_no_runs_at_all_names_the_next_command(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="lrrun train"):
        find_run("latest", tmp_path / "none")


def test_a_replaced_file_is_the_old_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    files.write_text(path, "old")
    with pytest.raises(RuntimeError), files.replacing(path) as handle:
        handle.write(b"half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    files.write_text(path, "new")
    assert path.read_text() == "new"


class Refusing(Disk):
    """Writes the first two bytes, then refuses; refuses to rename."""

    def __init__(self, code: int) -> None:
        self.error = OSError(code, os.strerror(code))

    def write(self, descriptor: int, data: memoryview) -> int:
        if len(data) > 2:
            return super().write(descriptor, data[:2])
        raise self.error

    def replace(self, source: Path, target: Path) -> None:
        raise self.error


@pytest.mark.parametrize(
    ("code", "advice"), [(errno.ENOSPC, "free space"), (errno.EROFS, "read-only")]
)
def test_a_row_that_a_refusing_disk_took_half_of_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, advice: str
) -> None:
    path = tmp_path / "epochs.csv"
    log = Log(path)
    log.append("1\n")
    monkeypatch.setattr(files, "disk", Refusing(code))
    with pytest.raises(EnvironmentFault, match=advice) as error:
        log.append("2,3\n")
    assert str(path) in str(error.value)
    monkeypatch.undo()
    log.append("4\n")
    assert log.sync() == Mark(4, hashlib.sha256(b"1\n4\n").hexdigest())
    log.close()
    log.close()
    assert path.read_text() == "1\n4\n"


def test_a_row_that_could_not_be_taken_back_at_once_is_before_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Worse(Refusing):
        def truncate(self, descriptor: int, size: int) -> None:
            raise self.error

    log = Log(tmp_path / "steps.csv")
    log.append("1\n")
    monkeypatch.setattr(files, "disk", Worse(errno.EIO))
    with pytest.raises(EnvironmentFault):
        log.append("2,3\n")
    assert log.path.read_text() == "1\n2,"
    monkeypatch.undo()
    log.append("4\n")
    assert log.path.read_text() == "1\n4\n"


def test_after_a_failed_fsync_nothing_is_promised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel forgets what it could not write: a second fsync would succeed, and lie."""

    class Failing(Disk):
        def sync(self, descriptor: int) -> None:
            raise OSError(errno.EIO, "Input/output error")

    log = Log(tmp_path / "steps.csv")
    log.append("1\n")
    monkeypatch.setattr(files, "disk", Failing())
    with pytest.raises(EnvironmentFault):
        log.sync()
    monkeypatch.undo()
    for call in (log.sync, lambda: log.append("2\n")):
        with pytest.raises(EnvironmentFault, match="did not reach the disk; resume the run"):
            call()
    log.close()


def test_a_failed_rename_leaves_no_temporary(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(files, "disk", Refusing(errno.EDQUOT))
    with pytest.raises(EnvironmentFault, match="quota"):
        files.write_text(tmp_path / "run.json", "x")
    assert list(tmp_path.iterdir()) == []


def test_a_new_text_is_whole_or_not_there(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "experiment.yaml"
    with monkeypatch.context() as patch:
        patch.setattr(files, "disk", Refusing(errno.ENOSPC))
        with pytest.raises(EnvironmentFault, match="free space"):
            files.write_new_text(path, "name: a\n")
    assert not path.exists()
    assert files.write_new_text(path, "name: a\n")
    assert not files.write_new_text(path, "name: b\n")
    assert path.read_text() == "name: a\n"


def test_modes_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        files.write_text(tmp_path / "a", "x")
        files.write_new_text(tmp_path / "b", "x")
        Log(tmp_path / "c").close()
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o640}


def test_no_file_is_written_through_a_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("mine")
    (tmp_path / "steps.csv").symlink_to(outside)
    with pytest.raises(UnusableFile, match="link"):
        Log(tmp_path / "steps.csv")
    files.write_text(tmp_path / "steps.csv", "new")  # takes the link's place
    assert outside.read_text() == "mine"


def test_only_temporaries_of_ours_are_removed(tmp_path: Path) -> None:
    for name in (".last.pt.123.tmp", "notes.tmp", ".hidden", "last.pt", ".last.pt.x.tmp"):
        (tmp_path / name).write_text("")
    files.remove_temporaries(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        *("notes.tmp", ".hidden", "last.pt", ".last.pt.x.tmp")
    }


def test_only_plain_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "real").write_text("x" * 20)
    (tmp_path / "link").symlink_to("real")
    for name, message in (("pipe", "plain file"), ("link", "link"), (".", "plain file")):
        with pytest.raises(UnusableFile, match=message):
            files.open_to_read(tmp_path / name)
    with pytest.raises(UnusableFile, match="larger than the 10"):
        files.read_bytes(tmp_path / "real", limit=10)

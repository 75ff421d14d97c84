"""Faults of the machine that are neither a kill nor a full disk, really made."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import resource
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lrrun.cli import main
from lrrun.config.reading import load_experiment
from lrrun.errors import EnvironmentFault, LrrunError
from lrrun.records import EpochRecord
from lrrun.training.runner import run

Lrrun = Callable[..., Any]

CONFIG = """\
name: a
model: {name: mlp, hidden: [16]}
dataset: {name: digits, batch_size: 64}
optimizer: {name: sgd, lr: 0.05, momentum: 0.9}
scheduler: {name: cosine, warmup: 5%}
train: {epochs: 40, device: cpu, threads: 1}
"""


@pytest.fixture
def config(empty_folder: Path) -> Path:
    file = empty_folder / "c.yaml"
    file.write_text(CONFIG)
    return file


def test_a_run_that_is_stopped_and_continued_writes_the_same_numbers(
    lrrun: Lrrun, config: Path
) -> None:
    lrrun("train", config, "--quiet")
    command = [sys.executable, "-m", "lrrun", "train", str(config)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        next(line for line in process.stdout if line.startswith("epoch    2"))
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.3)
        process.send_signal(signal.SIGCONT)
        process.stdout.read()
    assert process.returncode == 0
    one, two = (Path(f"runs/a-{n}/steps.csv").read_bytes() for n in (1, 2))
    assert one == two


def test_a_run_folder_that_is_removed_ends_the_run_and_is_not_made_anew(config: Path) -> None:
    folder = None
    with pytest.raises(LrrunError) as caught:
        for event in run(load_experiment(config, ["checkpoint.every=1 epoch"]), Path("runs")):
            folder = getattr(event, "path", folder)
            if isinstance(event, EpochRecord) and event.epoch == 2:
                assert folder is not None
                shutil.rmtree(folder)
    assert isinstance(caught.value, EnvironmentFault)
    assert folder is not None
    assert not folder.exists()


def test_a_file_system_without_locks_is_said_and_not_trained_on(
    lrrun: Lrrun, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    done = lrrun("train", config)
    assert done.code == 5
    assert "lock" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("mask", [0o077, 0o022])
def test_what_is_written_follows_the_umask(lrrun: Lrrun, config: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        assert lrrun("train", config, "train.epochs=1", "--quiet").code == 0
    finally:
        os.umask(before)
    files = [each for each in Path("runs/a-1").rglob("*") if each.is_file()]
    modes = {stat.S_IMODE(each.stat().st_mode) for each in files}
    assert modes == {0o666 & ~mask}


def _another_group() -> int:
    """A group, not the usual one, that this process may give to its files."""
    if os.geteuid() == 0:
        return 12345
    others = [group for group in os.getgroups() if group != os.getegid()]
    if not others:
        pytest.skip("this process is in one group only")
    return others[0]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="as Linux has setgid folders")
def test_f28_a_folder_of_a_group_gives_it_to_all_that_is_written(
    lrrun: Lrrun, config: Path
) -> None:
    """Replaced files, too: the temporary one begins in the same folder, under the same umask."""
    group = _another_group()
    Path("runs").mkdir()
    os.chown("runs", -1, group)
    Path("runs").chmod(0o2770)
    before = os.umask(0o007)
    try:
        assert lrrun("train", config, "train.epochs=2", "--quiet").code == 0
    finally:
        os.umask(before)
    found = [*Path("runs").rglob("*")]
    assert {each.stat().st_gid for each in found} == {group}
    modes = {(each.is_dir(), stat.S_IMODE(each.stat().st_mode)) for each in found}
    assert modes == {(True, 0o2770), (False, 0o660)}


def test_many_runs_are_listed_with_few_open_files(lrrun: Lrrun, config: Path) -> None:
    lrrun("train", config, "train.epochs=1", "--quiet")
    for n in range(2, 80):
        shutil.copytree("runs/a-1", f"runs/a-{n}")
    command = [sys.executable, "-m", "lrrun", "list", "--json"]

    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))

    done = subprocess.run(command, preexec_fn=few, capture_output=True, text=True, check=True)
    assert [each["status"] for each in json.loads(done.stdout)] == ["completed"] * 79


@pytest.mark.parametrize(
    "error",
    [MemoryError("no room"), RuntimeError("DefaultCPUAllocator: can't allocate memory")],
)
def test_out_of_memory_is_exit_5_and_no_traceback(
    lrrun: Lrrun, config: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(main, "app", fails)
    done = lrrun("train", config)
    assert done.code == 5
    assert "out of memory" in done.err
    assert "Traceback" not in done.err


def test_a_device_that_is_gone_is_said_and_another_one_taken(lrrun: Lrrun, config: Path) -> None:
    """A run that began elsewhere on a GPU: its config asks for what this machine has not."""
    if torch.cuda.is_available():
        pytest.skip("this machine has the device that the test says is gone")
    command = [sys.executable, "-m", "lrrun", "train", str(config), "train.epochs=100000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        next(line for line in process.stdout if line.startswith("epoch    3"))
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
    gone = lrrun("resume", "a-1", "train.device=cuda")
    assert gone.code == 2
    assert "cuda is not available here" in gone.err
    bent = lrrun("resume", "a-1", "train.device=cpu", "optimizer.lr=0.01")
    assert bent.code == 2
    assert "optimizer.lr" in bent.err
    assert "lrrun fork" in bent.err

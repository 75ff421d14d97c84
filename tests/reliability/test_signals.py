"""Signals that come while modules load, an LR is looked for, a sweep runs, or a file is saved."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lrrun.runlog.disk import Disk
from lrrun.runlog.info import read_info
from lrrun.training import checkpoint_files
from lrrun.training.checkpoint_seal import SealingFile

Lrrun = Callable[..., Any]

CONFIG = """\
name: a
model: {name: mlp, hidden: [4], dropout: 0.2}
dataset: {name: digits, batch_size: 256}
optimizer: {name: adam, lr: 0.01}
train: {steps: 12, device: cpu, threads: 1}
checkpoint: {every: 4 steps}
"""

ASKING = '''
import os
import signal
import time
from pathlib import Path

import torch


class Net(torch.nn.Module):
    """Sends SIGTERM to `whom` at forward pass `at`, once: a file says that it has."""

    def __init__(self, at, whom, flag):
        super().__init__()
        self.left, self.whom, self.flag = at, whom, Path(flag)
        self.flat = torch.nn.Flatten()
        self.linear = torch.nn.Linear(64, 10)

    def forward(self, x):
        self.left -= self.training
        if self.left == 0 and not self.flag.exists():
            self.flag.touch()
            os.kill({"self": os.getpid, "parent": os.getppid}[self.whom](), signal.SIGTERM)
            while not signal.getsignal(signal.SIGTERM).__self__.requested():
                time.sleep(0.01)  # until the parent has passed it on
        return self.linear(self.flat(x))
'''

AT_IMPORT = """\
import os, signal, sys
class AtImport:
    def find_spec(self, name, path, target=None):
        if name == {module!r}:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.{signal})
sys.meta_path.insert(0, AtImport())
sys.argv = ["lrrun", "train", "c.yaml"]
{begin}
"""


def entry_point() -> str:
    """What the installed `lrrun` does."""
    project = Path(__file__).parents[2] / "pyproject.toml"
    found = re.search(r'^lrrun = "(.+):(.+)"$', project.read_text("utf-8"), re.M)
    assert found is not None
    return f"from {found[1]} import {found[2]}; {found[2]}()"


BEGINNINGS = {
    "script": entry_point(),
    "module": "import runpy; runpy.run_module('lrrun', run_name='__main__', alter_sys=True)",
}


@pytest.fixture
def config(empty_folder: Path) -> Path:
    file = empty_folder / "c.yaml"
    file.write_text(CONFIG)
    return file


@pytest.fixture
def asking(config: Path) -> Callable[..., tuple[str, ...]]:
    """The settings of a model that sends SIGTERM."""
    (config.parent / "asking.py").write_text(ASKING)

    def settings(at: str, whom: str = "self") -> tuple[str, ...]:
        model = "{name: 'asking:Net', at: 0, whom: self, flag: sent}"
        return "--allow-code", f"model={model}", f"model.at={at}", f"model.whom={whom}"

    return settings


def numbers(run: str) -> dict[str, bytes]:
    return {name: Path(f"runs/{run}/{name}").read_bytes() for name in ("epochs.csv", "steps.csv")}


@pytest.mark.parametrize("module", ["lrrun.config.reading", "torch"])
def test_f04_a_signal_while_modules_load(lrrun: Lrrun, config: Path, module: str) -> None:
    """Before there is anything to save the signal ends the process; torch's import it outlives."""
    code = AT_IMPORT.format(module=module, signal="SIGTERM", begin=entry_point())
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    if module != "torch":
        assert done.returncode == -signal.SIGTERM
        assert not Path("runs").exists()
        return
    assert done.returncode == 128 + signal.SIGTERM, done.stderr
    stopped = read_info(Path("runs/a-1"))
    assert stopped["status"] == "interrupted"
    assert stopped["step"] < 12
    assert lrrun("resume", "a-1", "-q").code == 0
    assert [each["step"] for each in read_info(Path("runs/a-1"))["resumed"]] == [stopped["step"]]
    assert lrrun("train", config, "-q").code == 0
    assert numbers("a-1") == numbers("a-2")


@pytest.mark.parametrize("begin", BEGINNINGS)
@pytest.mark.parametrize("module", ["lrrun.cli", "typer", "lrrun.errors", "lrrun.cli.verify"])
def test_f04_ctrl_c_while_the_command_line_loads(config: Path, module: str, begin: str) -> None:
    code = AT_IMPORT.format(module=module, signal="SIGINT", begin=BEGINNINGS[begin])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
    assert not Path("runs").exists()


def test_f04_a_signal_during_the_range_test(lrrun: Lrrun, config: Path, asking: Any) -> None:
    done = lrrun("find", config, *asking("9"), "--quick", "--steps", 40)
    assert done.code == 143, done.err
    assert "Traceback" not in done.err
    info = read_info(Path("runs/a-find-1"))
    assert (info["status"], info["step"]) == ("interrupted", 9)
    assert checkpoint_files.load(Path("runs/a-find-1/checkpoints/last.pt"))["step"] == 9
    assert not Path("runs/a-find-1/find.json").exists()
    assert lrrun("find", config, *asking("9"), "--quick", "--steps", 40).code == 0
    assert [each.name for each in Path("runs").iterdir()] == ["a-find-1"]


WORKER = ("--processes", "1")


@pytest.mark.parametrize(
    ("whom", "processes", "code"),
    [("self", (), 143), ("parent", WORKER, 143), ("self", WORKER, 0)],
    ids=["in its process", "with a worker", "to its worker alone"],
)
def test_f04_a_signal_during_a_sweep(
    lrrun: Lrrun, config: Path, asking: Any, whom: str, processes: tuple[str, ...], code: int
) -> None:
    """It stops, and goes on; a worker that somebody else stops is replaced by another."""
    sweep = Path("runs/a-sweep-1")
    settings = (*asking("3,50", whom), "--no-fuse", "--quiet")
    done = lrrun("sweep", config, *settings, *processes)
    assert (done.code, done.err) == (code, "")
    if code:
        info = read_info(sweep / "trial-0001-1")
        assert (info["status"], info["step"]) == ("interrupted", 3)
        assert lrrun("sweep", config, *settings).code == 0
    assert read_info(sweep / "trial-0001-1")["resumed"][0]["step"] == 3
    rows = (sweep / "trials.csv").read_text().splitlines()
    assert sorted(row.split(",")[0] for row in rows[1:]) == ["1", "2"]
    assert lrrun("train", config, *asking("3", whom), "-q").code == 0
    assert numbers("a-sweep-1/trial-0001-1") == numbers("a-1")


class Interrupting(Disk):
    """Ctrl-C comes twice at operation `at`; nobody waits for this disk."""

    def __init__(self, at: int) -> None:
        self.at, self.count = at, 0

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name in ("write", "sync", "replace", "sync_folder", "unlink"):
            self.count += 1
            if self.count == self.at:
                signal.raise_signal(signal.SIGINT)
                signal.raise_signal(signal.SIGINT)
        return found

    def sync(self, descriptor: int) -> None:
        pass

    def sync_folder(self, folder: Path) -> None:
        pass


def test_f05_a_second_ctrl_c_during_any_save(
    lrrun: Lrrun, config: Path, use_disk: Any, fast_disk: Any
) -> None:
    use_disk(fast_disk())
    assert lrrun("train", config, "-q").code == 0
    straight, resumed_from, at = numbers("a-1"), set(), 1
    shutil.rmtree("runs")
    while True:
        disk = use_disk(Interrupting(at))
        done = lrrun("train", config, "-q")
        use_disk(fast_disk())
        if disk.count < at:
            assert done.code == 0
            break
        assert (done.code, done.err) == (130, "")
        if Path("runs/a-1/run.json").exists():
            assert not [*Path("runs").rglob("*.tmp")]
            status = read_info(Path("runs/a-1"))["status"]
            assert lrrun("resume", "a-1", "-q").code == 0
            if status != "completed":
                resumed_from.add(read_info(Path("runs/a-1"))["resumed"][0]["step"])
            assert numbers("a-1") == straight
        shutil.rmtree("runs", ignore_errors=True)
        at += 5
    assert resumed_from == {0, 4, 8, 12}


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_f05_f17_what_unwinds_torchs_writer_keeps_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    """Between two writes, that is; torch would call it `unexpected pos` in a RuntimeError."""
    path, calls = tmp_path / "last.pt", [0]
    checkpoint_files.save(path, {"step": 1})
    before, write = path.read_bytes(), SealingFile.write

    def interrupted(file: SealingFile, data: bytes) -> int:
        calls[0] -= 1
        if calls[0] == 0:
            raise error
        return write(file, data)

    monkeypatch.setattr(SealingFile, "write", interrupted)
    for at in range(1, 18):
        calls[0] = at
        with pytest.raises(error):
            checkpoint_files.save(path, {"step": 2, "w": torch.zeros(1000)})
        assert path.read_bytes() == before
        assert [*tmp_path.iterdir()] == [path]

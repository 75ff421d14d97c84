"""Out of memory: at the model, at a batch, at a save; exit code 5 with sizes, and it resumes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lrrun.runlog.info import read_info

Lrrun = Callable[..., Any]

CONFIG = """\
name: a
model: {name: mlp, hidden: [4], dropout: 0.2}
dataset: {name: digits, batch_size: 256}
optimizer: {name: adam, lr: 0.01}
train: {steps: 8, device: cpu, threads: 1}
checkpoint: {every: 2 steps}
"""

LIMITED = """\
import resource, sys
import torch
import lrrun.training.runner
from lrrun.cli.main import run
torch.set_num_threads(1)
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + {room}
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
sys.argv = ["lrrun", "train", "c.yaml", "-q", {setting!r}]
run()
"""

MB = 1 << 20


@pytest.fixture
def config(empty_folder: Path) -> Path:
    file = empty_folder / "c.yaml"
    file.write_text(CONFIG)
    return file


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="RLIMIT_AS is Linux's")
@pytest.mark.parametrize(
    ("setting", "room", "begun"),
    [("model.hidden=[60000, 2000]", 300 * MB, False), ("model.hidden=[60000]", 250 * MB, True)],
    ids=["at the model", "at a batch"],
)
def test_f17_memory_that_is_really_used_up(
    config: Path, setting: str, room: int, begun: bool
) -> None:
    """480 MB of weights; or 18 MB of them, and 60 MB for each activation of a batch."""
    code = LIMITED.format(room=room, setting=setting)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 5, done.stderr
    line = done.stderr.splitlines()[0]
    assert line.startswith("lrrun: out of memory: ")
    assert "you tried to allocate" in line
    assert "a smaller model or batch may fit" in done.stderr
    assert "Traceback" not in done.stderr
    assert Path("runs").exists() == begun
    if begun:
        info = read_info(Path("runs/a-1"))
        assert info["status"] == "failed"
        assert "can't allocate memory" in info["sentence"]


def numbers(run: str) -> dict[str, bytes]:
    return {name: Path(f"runs/{run}/{name}").read_bytes() for name in ("epochs.csv", "steps.csv")}


@pytest.mark.parametrize("at", [1, 3])
def test_f17_a_save_that_finds_no_memory(
    lrrun: Lrrun, config: Path, use_disk: Any, fast_disk: Any, at: int
) -> None:
    class Exhausted(fast_disk):  # type: ignore[misc, valid-type]
        """Has no memory for the first write of the checkpoint `at`."""

        saves = 0

        def open(self, path: Path, flags: int) -> int:
            self.saves += path.name.startswith(".next.pt")
            return int(super().open(path, flags))

        def write(self, descriptor: int, data: memoryview) -> int:
            if self.saves == at:
                self.saves += 1
                raise MemoryError("a buffer of 1 MB")
            return int(super().write(descriptor, data))

    use_disk(Exhausted())
    done = lrrun("train", config, "-q")
    assert (done.code, done.out) == (5, "")
    assert done.err.startswith("lrrun: out of memory: a buffer of 1 MB; a smaller model")
    info = read_info(Path("runs/a-1"))
    assert (info["status"], info["sentence"]) == ("failed", "MemoryError: a buffer of 1 MB")
    use_disk(fast_disk())
    assert lrrun("resume", "a-1", "-q").code == 0
    assert [each["step"] for each in read_info(Path("runs/a-1"))["resumed"]] == [2 * (at - 1)]
    assert lrrun("train", config, "-q").code == 0
    assert numbers("a-1") == numbers("a-2")

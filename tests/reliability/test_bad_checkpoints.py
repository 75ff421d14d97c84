"""What can be wrong with a checkpoint: the one before it takes over and that is said, or it stops.

Ends the list of test_bad_inputs.py, as somebody types `lrrun resume`; what the loader itself says
to each is in tests/training/test_checkpoint_files.py and test_checkpoint_strangers.py.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lrrun.config.reading import experiment_from_text
from lrrun.records import StepRecord
from lrrun.runlog.info import read_info
from lrrun.training import checkpoint_files
from lrrun.training.checkpoint_seal import SealingFile
from lrrun.training.runner import run

Lrrun = Callable[..., Any]

CONFIG = """\
name: a
model: {name: mlp, hidden: [4], dropout: 0.2}
dataset: {name: digits, batch_size: 256}
optimizer: {name: adam, lr: 0.01}
train: {steps: 6, device: cpu, threads: 1}
checkpoint: {every: 2 steps}
"""

STEPS = {"last.pt": 4, "previous.pt": 2}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """runs/ with the whole run a-1, and a-2, which was killed after its fifth update."""
    runs = tmp_path_factory.mktemp("whole") / "runs"
    experiment = experiment_from_text(CONFIG)
    for _ in run(experiment, runs):
        pass
    events = run(experiment, runs)
    next(each for each in events if isinstance(each, StepRecord) and each.step == STEPS["last.pt"])
    events.close()
    return runs


@pytest.fixture
def killed(empty_folder: Path, whole: Path) -> Path:
    shutil.copytree(whole, empty_folder / "runs")
    return empty_folder / "runs" / "a-2"


def sealed(path: Path, write: Callable[[SealingFile], Any]) -> None:
    """Replace a checkpoint by something whose checksum is right: it is no signature."""
    path.unlink()
    with path.open("wb") as handle:
        sealing = SealingFile(handle)
        write(sealing)
        sealing.close()


def holding(value: Callable[[], Any]) -> Callable[[Path], None]:
    return lambda path: sealed(path, lambda file: torch.save({"step": 4, "w": value()}, file))


def archived(change: Callable[[dict[str, bytes]], dict[str, bytes]], compression: int = 0) -> Any:
    """The same checkpoint in an archive that torch does not write."""

    def spoil(path: Path) -> None:
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w", compression) as out:
            for name, content in change(members).items():
                out.writestr(name, content)
        sealed(path, lambda file: file.write(made.getvalue()))

    return spoil


def replaced(change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(change(path.read_bytes()))


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 16]) + content[middle + 1 :]


def changed(**entries: Any) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        checkpoint_files.save(path, {**checkpoint_files.load(path), **entries})

    return spoil


def in_its_place(make: Callable[[Path], object]) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        path.unlink()
        make(path)

    return spoil


def twice(path: Path) -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as out:
        out.writestr("archive/data.pkl", b"1")
        with pytest.warns(UserWarning, match="Duplicate"):
            out.writestr("archive/data.pkl", b"2")
    sealed(path, lambda file: file.write(made.getvalue()))


class Touch:
    """Makes the file `marker` when it is unpickled."""

    def __reduce__(self) -> Any:
        return open, ("marker", "w")


NOT_DENSE = r"\.w: not a dense tensor"
BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "B61 empty": (replaced(lambda content: b""), "truncated: it is empty"),
    "B61 half": (replaced(lambda content: content[: len(content) // 2]), "truncated"),
    "B61 a byte less": (replaced(lambda content: content[:-1]), "truncated"),
    "B61 a byte more": (replaced(lambda content: content + b"0"), "more was written after its end"),
    "B62 bit": (replaced(flipped), "checksum does not match"),
    "B62 page": (
        replaced(lambda content: content[:4096] + bytes(4096) + content[8192:]),
        "checksum does not match",
    ),
    "B62 zeros": (replaced(lambda content: bytes(len(content))), "not an lrrun checkpoint"),
    "B63 text": (replaced(lambda content: b"text\n"), "not an lrrun checkpoint"),
    "B63 gzip": (replaced(lambda content: b"\x1f\x8b\x08gzip"), "not an lrrun checkpoint"),
    "B63 HTML": (replaced(lambda content: b"<html></html>"), "not an lrrun checkpoint"),
    "B63 PNG": (replaced(lambda content: b"\x89PNG\r\n\x1a\n"), "not an lrrun checkpoint"),
    "B63 safetensors": (
        replaced(lambda content: (2).to_bytes(8, "little") + b"{}" + bytes(200)),
        "not an lrrun checkpoint",
    ),
    "B63 torch.save": (lambda path: torch.save({"step": 4}, path), "it has no checksum at its end"),
    "B64 code": (holding(Touch), "contains Python objects; refused"),
    "B64 class": (holding(lambda: torch.nn.Linear(1, 1)), "contains Python objects; refused"),
    "B64 numpy": (holding(lambda: np.float64(0.1)), "contains Python objects; refused"),
    "B65 sparse": (holding(lambda: torch.eye(3).to_sparse()), NOT_DENSE),
    "B65 meta": (holding(lambda: torch.zeros(3, device="meta")), NOT_DENSE),
    "B65 overlap": (holding(lambda: torch.zeros(4).as_strided((2, 2), (1, 1))), NOT_DENSE),
    "B65 huge": (holding(lambda: torch.zeros(1).expand(2**20, 2**20)), NOT_DENSE),
    "B65 deflated": (archived(dict, zipfile.ZIP_DEFLATED), "not laid out as torch.save does it"),
    "B65 outside": (
        archived(lambda members: members | {"archive/../../x": b""}),
        "not laid out as torch.save does it",
    ),
    "B65 twice": (twice, "too many members, or one twice"),
    "B67 another run": (changed(run="b" * 16), "belongs to another run"),
    "B68 no step": (changed(step="4"), "it has no step"),
    "B69 link": (in_its_place(lambda path: path.symlink_to("best.pt")), "it is a link"),
    "B69 FIFO": (in_its_place(os.mkfifo), "it is not a plain file"),
    "B69 folder": (in_its_place(Path.mkdir), "it is not a plain file"),
}


def numbers(path: Path) -> dict[str, bytes]:
    return {name: (path / name).read_bytes() for name in ("epochs.csv", "steps.csv")}


def tree(folder: Path) -> dict[Path, int]:
    return {each: each.lstat().st_mtime_ns for each in folder.rglob("*")}


def one_clear_refusal(lrrun: Lrrun, path: Path, message: str) -> None:
    """Exit code 3, one line, and not a file of the run touched."""
    before = tree(path)
    done = lrrun("resume", path.name)
    assert (done.code, done.out) == (3, ""), done
    (line,) = done.err.splitlines()
    assert line.startswith("lrrun: ") and line.isprintable()
    assert re.search(message, line), line
    assert tree(path) == before


@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.parametrize("name", BAD)
def test_a_bad_checkpoint(lrrun: Lrrun, killed: Path, name: str) -> None:
    """The newest alone: the one before it goes on, to the same numbers. Both: it stops."""
    spoil, message = BAD[name]
    other = killed.with_name("a-3")
    shutil.copytree(killed, other)
    spoil(killed / "checkpoints" / "last.pt")
    done = lrrun("resume", "a-2", "-q")
    assert done.code == 0, done.err
    assert re.search(rf"last\.pt.*{message}", done.err), done.err
    assert f"going on from previous.pt, step {STEPS['previous.pt']}" in done.err
    assert [each["step"] for each in read_info(killed)["resumed"]] == [STEPS["previous.pt"]]
    assert numbers(killed) == numbers(killed.with_name("a-1"))
    for checkpoint in STEPS:
        spoil(other / "checkpoints" / checkpoint)
    one_clear_refusal(lrrun, other, rf"no checkpoint is whole: .*last\.pt.*{message}.*previous\.pt")
    assert not Path("marker").exists()


def test_b68_a_name_that_says_another_step(lrrun: Lrrun, killed: Path) -> None:
    shutil.copy(killed / "checkpoints" / "last.pt", killed / "checkpoints" / "step-5.pt")
    done = lrrun("resume", "a-2", "-q")
    assert done.code == 0
    assert "step-5.pt: refused: its name says another step than its 4" in done.err
    assert [each["step"] for each in read_info(killed)["resumed"]] == [STEPS["last.pt"]]
    assert numbers(killed) == numbers(killed.with_name("a-1"))


def test_b69_no_permission(lrrun: Lrrun, killed: Path, ordinary_rights: Any) -> None:
    (killed / "checkpoints" / "last.pt").chmod(0)
    with ordinary_rights():
        done = lrrun("resume", "a-2", "-q")
    assert done.code == 0
    assert "Permission denied" in done.err


def weights(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        content = checkpoint_files.load(path)
        change(content["model"])
        checkpoint_files.save(path, content)

    return spoil


def first(model: dict[str, Any]) -> str:
    return next(iter(model))


UNFIT: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "B66 missing": (lambda model: model.pop(first(model)), "weight is missing"),
    "B66 extra": (lambda model: model.update(x=torch.zeros(1)), "x is not in this model"),
    "B66 shape": (
        lambda model: model.update({first(model): torch.zeros(4, 128)}),
        "weight is 4x128, this model needs 4x64",
    ),
    "B66 type": (
        lambda model: model.update({first(model): torch.zeros(4, 64).double()}),
        r"weight is torch\.float64, this model needs torch\.float32",
    ),
    "B70 nan": (
        lambda model: model[first(model)].fill_(torch.nan),
        "holds non-finite weights: .*weight",
    ),
}


@pytest.mark.parametrize("name", UNFIT)
def test_a_checkpoint_that_does_not_fit_the_model(lrrun: Lrrun, killed: Path, name: str) -> None:
    """Whole, and of this run, so nothing older is tried: something else is wrong here."""
    change, message = UNFIT[name]
    weights(change)(killed / "checkpoints" / "last.pt")
    one_clear_refusal(lrrun, killed, message)

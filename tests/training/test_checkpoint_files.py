"""A checkpoint comes back bit for bit, or it is refused by name; nothing in between."""

from __future__ import annotations

import collections
import enum
import errno
import os
import random
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lrrun.errors import EnvironmentFault, UnusableFile
from lrrun.runlog import files
from lrrun.runlog.disk import Disk
from lrrun.training.checkpoint_files import load, save
from lrrun.training.checkpoint_values import non_finite, shapes_problems

DTYPES = [
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
    *(torch.float8_e4m3fn, torch.uint16),
]


def sample() -> dict[str, Any]:
    """A real training state: batch norm, Adam, tied weights, random generator."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    optimizer = torch.optim.Adam(model.parameters(), betas=(0.9, 0.99))
    model(torch.randn(5, 3)).sum().backward()
    optimizer.step()
    weights = model.state_dict()
    return {
        "step": 1,
        "model": weights,
        "tied": [weights["0.weight"], weights["0.weight"]],
        "optimizer": optimizer.state_dict(),
        "rng": torch.get_rng_state(),
        "nothing": None,
        "notes": {"text": "ü\x00", "yes": True, "f": -0.0, "n": 10**30, "pair": (1, ())},
    }


@pytest.fixture
def good(tmp_path: Path) -> Path:
    save(tmp_path / "last.pt", sample())
    return tmp_path / "last.pt"


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        mine, theirs = (x.contiguous().view(-1).view(torch.uint8).tolist() for x in (a, b))
        return (a.dtype, a.shape, a.stride(), mine) == (b.dtype, b.shape, b.stride(), theirs)
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and repr(a) == repr(b)


def test_a_training_state_comes_back_bit_for_bit(good: Path) -> None:
    loaded = load(good)
    assert same(loaded, sample())
    assert loaded["model"]._metadata == sample()["model"]._metadata  # versions of the modules
    assert loaded["tied"][0].data_ptr() == loaded["tied"][1].data_ptr()


def test_plain_torch_and_zip_read_it(good: Path) -> None:
    for options in ({}, {"mmap": True}):
        assert same(torch.load(good, weights_only=True, **options), sample())
    assert zipfile.ZipFile(good).testzip() is None
    digest = subprocess.run(
        f"head -c -64 '{good}' | sha256sum", shell=True, capture_output=True, text=True, check=True
    )
    assert digest.stdout[:64].encode() == good.read_bytes()[-64:]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype_with_its_odd_bits(tmp_path: Path, dtype: torch.dtype) -> None:
    random.seed(0)
    values = [0, 1] * 8 if dtype == torch.bool else random.choices(range(256), k=16)
    bits = torch.tensor(values, dtype=torch.uint8).view(dtype)  # NaN payloads and -0.0 among them
    content = {"bits": bits, "none": bits[:0].clone(), "one": bits[0].clone()}
    save(tmp_path / "a.pt", content)
    assert same(load(tmp_path / "a.pt"), content)


def test_memory_formats_stay_and_views_get_memory_of_their_own(tmp_path: Path) -> None:
    image = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    long = torch.arange(1000.0)
    save(tmp_path / "a.pt", {"image": image, "part": long[::250], "wide": long[:1].expand(3)})
    loaded = load(tmp_path / "a.pt")
    assert loaded["image"].stride() == image.stride() and torch.equal(loaded["image"], image)
    assert loaded["part"].tolist() == [0, 250, 500, 750]
    assert loaded["part"].untyped_storage().nbytes() == 16
    assert loaded["wide"].tolist() == [0, 0, 0]


class Color(enum.IntEnum):
    RED = 1


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (np.float64(0.1), "numpy.float64"),
        (np.zeros(2), "numpy.ndarray"),
        (np.bool_(True), "numpy.bool"),
        (Color.RED, "Color"),
        ({1, 2}, "builtins.set"),
        (b"raw", "builtins.bytes"),
        (torch.Size([2]), "torch.Size"),
        (torch.float32, "torch.dtype"),
        (torch.nn.Parameter(torch.zeros(2)), "torch.nn.parameter.Parameter"),
        (torch.zeros(2).to_sparse(), "layout torch.sparse_coo"),
        (torch.zeros(2, device="meta"), "on meta"),
        (collections.defaultdict(int), "collections.defaultdict"),
        (lambda: None, "function"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_could_not_be_loaded_is_refused_when_saving(good: Path, value, kind: str) -> None:
    before = good.read_bytes()
    with pytest.raises(
        TypeError, match=r"^checkpoint\.optimizer\.param_groups\[1\]\.lr: "
    ) as error:
        save(good, {"optimizer": {"param_groups": [{"lr": 0.1}, {"lr": value}]}})
    assert kind in str(error.value)
    assert good.read_bytes() == before and list(good.parent.iterdir()) == [good]


def test_keys_are_text_or_numbers(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"^checkpoint\.a: a key is str or int, got tuple"):
        save(tmp_path / "a.pt", {"a": {("b", 1): 0}})
    with pytest.raises(TypeError, match="int64"):
        save(tmp_path / "a.pt", {"a": {np.int64(1): 0}})


# What can happen to a file


def refused(path: Path, message: str = ".") -> str:
    """The one clear line with which `path` is refused."""
    with pytest.raises(UnusableFile, match=message) as error:
        load(path)
    text = str(error.value)
    assert str(path) in text and "\n" not in text and "\x1b" not in text and len(text) < 300
    return text


def test_every_flipped_bit_is_noticed(good: Path) -> None:
    content = good.read_bytes()
    random.seed(1)
    ends = [*range(8 * 60), *range(8 * (len(content) - 200), 8 * len(content))]
    for bit in [*random.sample(range(8 * len(content)), 500), *ends]:
        broken = bytearray(content)
        broken[bit // 8] ^= 1 << bit % 8
        good.write_bytes(bytes(broken))
        refused(good)
    good.write_bytes(content)
    assert load(good)["step"] == 1


def test_truncation_anywhere_is_noticed(good: Path) -> None:
    content = good.read_bytes()
    for size in [*range(4, len(content), 97), len(content) - 1, len(content) - 64]:
        good.write_bytes(content[:size])
        refused(good, "truncated|checksum")
    good.write_bytes(b"")
    refused(good, "truncated: it is empty")


def test_zeroed_pages_and_more_at_the_end(good: Path) -> None:
    content = good.read_bytes()
    for at in range(0, len(content), 512):
        good.write_bytes(content[:at] + bytes(len(content[at : at + 512])) + content[at + 512 :])
        refused(good)
    good.write_bytes(bytes(len(content)))
    refused(good, "not an lrrun checkpoint")
    for more in (b"\0", b"x" * 100, content):
        good.write_bytes(content + more)
        refused(good, "more was written after its end|checksum")


@pytest.mark.parametrize(
    "content",
    [b"text\n", b"\x1f\x8b\x08gzip", b"<html></html>", b"\x89PNG\r\n", b"\x02{}" + bytes(20)],
)
def test_other_kinds_of_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "last.pt"
    path.write_bytes(content)
    refused(path, "not an lrrun checkpoint")


def test_checkpoints_of_others_have_no_checksum(tmp_path: Path) -> None:
    torch.save({"step": 1}, tmp_path / "last.pt")
    refused(tmp_path / "last.pt", "not an lrrun checkpoint: it has no checksum at its end")
    torch.save({"step": 1}, tmp_path / "last.pt", _use_new_zipfile_serialization=False)
    refused(tmp_path / "last.pt", "not an lrrun checkpoint")


def test_what_is_not_a_plain_file_never_blocks(tmp_path: Path, good: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(good)
    for name, message in (("pipe", "plain file"), ("folder", "plain file"), ("link", "a link")):
        refused(tmp_path / name, message)
    refused(tmp_path / "missing", "no such checkpoint")


# Disks that refuse, and models that do not fit


def test_a_full_disk_leaves_the_old_checkpoint(good: Path, monkeypatch) -> None:
    """torch's C++ writer must not be unwound by the error; a subprocess would see it abort."""
    before = good.read_bytes()

    class Full(Disk):
        written = 0

        def write(self, descriptor: int, data: memoryview) -> int:
            self.written += 1
            if self.written == 2:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(descriptor, data[:1000])

    monkeypatch.setattr(files, "disk", Full())
    with pytest.raises(EnvironmentFault, match=r"last\.pt.*free space"):
        save(good, {"w": torch.randn(1_000_000)})
    assert good.read_bytes() == before and list(good.parent.iterdir()) == [good]


def test_a_file_size_limit_really_hit(tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys, torch; from pathlib import Path\n"
        "from lrrun.errors import EnvironmentFault\n"
        "from lrrun.training.checkpoint_files import load, save\n"
        "path = Path(sys.argv[1]); save(path, {'step': 1})\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try:\n    save(path, {'w': torch.zeros(100_000)})\n"
        "except EnvironmentFault as error:\n    assert 'File too large' in str(error), error\n"
        "else:\n    raise SystemExit('saved')\n"
        "assert load(path) == {'step': 1} and len(list(path.parent.iterdir())) == 1\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "last.pt")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_what_does_not_fit_a_model_is_named_before_anything_is_copied() -> None:
    model = {"a": torch.zeros(64, 256), "b": torch.zeros(3), "c": torch.zeros(())}
    state = {"a": torch.zeros(64, 128), "b": torch.zeros(3).double(), "d": torch.zeros(1)}
    assert shapes_problems(state, model) == [
        "c is missing",
        "a is 64x128, this model needs 64x256",
        "b is torch.float64, this model needs torch.float32",
        "d is not in this model",
    ]
    assert shapes_problems({**model, "c": 0.0}, model) == [
        "c is a int, this model needs a tensor".replace("int", "float")
    ]
    assert shapes_problems([], model) == ["expected tensors by name, got a list"]
    assert shapes_problems(model, model) == []


def test_nan_weights_are_named_and_masks_are_not() -> None:
    fresh = {"w": torch.zeros(2), "mask": torch.tensor([0.0, -torch.inf]), "n": torch.tensor(1)}
    bad = {**fresh, "w": torch.tensor([1.0, torch.nan])}
    assert (non_finite(bad, fresh), non_finite(fresh, fresh)) == (["w"], [])

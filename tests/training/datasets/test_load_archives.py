"""MNIST and CIFAR readers on tiny files of the same formats; nothing touches the network."""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import struct
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lrrun.config.base import DataFacts
from lrrun.config.datasets import Cifar10, FashionMnist, Mnist
from lrrun.errors import EnvironmentFault, UnusableFile
from lrrun.training.datasets import cifar, idx
from lrrun.training.datasets.augment import crop_and_flip
from lrrun.training.datasets.download import Archive, cache_folder, fetch

RNG = np.random.default_rng(0)


def keep(folder: Path, name: str, raw: bytes) -> Archive:
    """A file that is already in the cache folder, and its description."""
    (folder / name).write_bytes(raw)
    return Archive(name, hashlib.md5(raw).hexdigest(), ("https://offline.invalid/",))


def packed(data: bytes) -> bytes:
    """The same bytes at any time of day: gzip writes the clock into its header."""
    return gzip.compress(data, mtime=0)


def idx_bytes(values: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    return packed(header + values.tobytes())


# fetch


class Downloads:
    """A downloader in place of the network's: writes what it holds for a URL, or is offline."""

    def __init__(self, **files: bytes) -> None:
        self.files = files
        self.asked: list[str] = []

    def __call__(self, url, output_file, pooch):
        self.asked.append(url)
        host = url.split("/")[2].split(".")[0]
        if host not in self.files:
            raise ConnectionError("no route to host")
        Path(output_file).write_bytes(self.files[host])


def archive(raw: bytes) -> Archive:
    md5 = hashlib.md5(raw).hexdigest()
    return Archive("f.gz", md5, ("https://one.invalid/", "https://two.invalid/"))


def test_fetch_tries_the_mirrors_in_turn_and_keeps_the_file(tmp_path):
    downloads = Downloads(two=b"content")
    path = fetch(archive(b"content"), tmp_path / "new" / "mnist", downloads)
    assert path == tmp_path / "new" / "mnist" / "f.gz"
    assert path.read_bytes() == b"content"
    fetch(archive(b"content"), path.parent, downloads)
    assert downloads.asked == ["https://one.invalid/f.gz", "https://two.invalid/f.gz"]


def test_offline_says_what_where_and_how(tmp_path):
    with pytest.raises(UnusableFile) as caught:
        fetch(archive(b"content"), tmp_path, Downloads(one=b"damaged"))
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'f.gz'}: not there")
    assert "https://one.invalid/f.gz (what came was damaged: its MD5 differs)" in message
    assert "https://two.invalid/f.gz (ConnectionError; is this machine offline?)" in message
    assert archive(b"content").md5 in message
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_in_the_cache_is_named_not_replaced(tmp_path):
    (tmp_path / "f.gz").write_bytes(b"mine")
    with pytest.raises(UnusableFile, match=r"f\.gz: damaged, or another file: MD5"):
        fetch(archive(b"content"), tmp_path, Downloads(one=b"content"))
    assert (tmp_path / "f.gz").read_bytes() == b"mine"


def test_a_full_disk_is_not_called_offline(tmp_path):
    def full(url, output_file, pooch):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(EnvironmentFault, match="No space left on device"):
        fetch(archive(b"content"), tmp_path, full)
    (tmp_path / "file").touch()
    with pytest.raises(EnvironmentFault, match="cannot keep downloads here"):
        fetch(archive(b"content"), tmp_path / "file", full)


def test_every_dataset_has_its_own_folder(tmp_path):
    assert cache_folder(Mnist(root=str(tmp_path)), Path()) == tmp_path / "mnist"
    assert cache_folder(FashionMnist(root=tmp_path.name), tmp_path.parent) == (
        tmp_path / "fashion-mnist"
    )
    assert cache_folder(Mnist(), Path()).parent.name == "lrrun"


# idx


@pytest.fixture
def mnist(tmp_path):
    """Ten training and six validation images of 4 x 5 pixels, three classes."""
    arrays = [
        RNG.integers(256, size=(10, 4, 5), dtype=np.uint8),
        np.arange(10, dtype=np.uint8) % 3,
        RNG.integers(256, size=(6, 4, 5), dtype=np.uint8),
        np.arange(6, dtype=np.uint8) % 3,
    ]
    kept = [
        keep(tmp_path, f, idx_bytes(values)) for f, values in zip(idx.FILES, arrays, strict=True)
    ]
    facts = DataFacts(10, 6, "classification", (1, 4, 5), 3)
    return idx.IdxFiles(tuple(kept), mean=0.25, std=0.5), facts, arrays


def test_idx_files_are_read_and_normalized(mnist, tmp_path):
    published, facts, arrays = mnist
    splits = idx.read(published, facts, tmp_path)
    assert (len(splits.train), len(splits.val), splits.augment) == (10, 6, None)
    assert splits.facts == facts
    x, y = splits.val.batch(torch.tensor([5, 1]))
    expected = (arrays[2][[5, 1]] / 255 - 0.25) / 0.5
    np.testing.assert_allclose(x[:, 0].numpy(), expected, atol=1e-6)
    assert y.tolist() == [2, 1]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (idx_bytes(np.zeros((9, 4, 5), np.uint8)), "expected an IDX file of 10 x 4 x 5 bytes"),
        (packed(gzip.decompress(idx_bytes(np.zeros((10, 4, 5), np.uint8)))[:-1]), "10 x 4"),
        (packed(gzip.decompress(idx_bytes(np.zeros((10, 4, 5), np.uint8))) + b"1"), "10 x"),
        (idx_bytes(np.zeros((10, 4, 5), np.uint8))[:-12], "not a whole gzip file"),
        (b"<html>not found</html>", "not a whole gzip file"),
        (b"", "expected an IDX file"),
    ],
)
def test_broken_idx_files(mnist, tmp_path, raw, message):
    published, facts, _ = mnist
    broken = keep(tmp_path, idx.FILES[0], raw)
    with pytest.raises(UnusableFile, match=message):
        idx.read(replace(published, archives=(broken, *published.archives[1:])), facts, tmp_path)


def test_idx_labels_are_in_range(mnist, tmp_path):
    published, facts, _ = mnist
    with pytest.raises(UnusableFile, match=r"label 2 is outside 0\.\.1"):
        idx.read(published, replace(facts, outputs=2), tmp_path)


# cifar


def tar_bytes(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, raw in members.items():
            member = tarfile.TarInfo(name.replace("__", "/"))
            member.size = len(raw)
            archive.addfile(member, io.BytesIO(raw))
    return stream.getvalue()


def cifar_files(folder: Path, label_bytes: int = 1, **members: bytes) -> cifar.CifarFiles:
    return cifar.CifarFiles(
        keep(folder, "c.tar.gz", tar_bytes(**members)),
        train=("c/one.bin", "c/two.bin"),
        val=("c/test.bin",),
        label_bytes=label_bytes,
        mean=(0.1, 0.2, 0.3),
        std=(0.5, 1.0, 2.0),
    )


def records(labels: list[list[int]]) -> tuple[bytes, np.ndarray]:
    pixels = RNG.integers(256, size=(len(labels), 3072), dtype=np.uint8)
    return np.hstack([np.array(labels, np.uint8), pixels]).tobytes(), pixels


FACTS = DataFacts(4, 3, "classification", (3, 32, 32), 5)


@pytest.mark.parametrize("label_bytes", [1, 2])
def test_cifar_records(tmp_path, label_bytes):
    coarse = [] if label_bytes == 1 else [99]
    one, _ = records([[*coarse, 0], [*coarse, 1]])
    two, pixels = records([[*coarse, 4], [*coarse, 3]])
    test, _ = records([[*coarse, label] for label in (2, 2, 0)])
    members = {"../evil": b"!", "c__test.bin": test, "c__two.bin": two, "c__one.bin": one}
    published = cifar_files(tmp_path, label_bytes, **members)
    splits = cifar.read(published, FACTS, tmp_path)
    assert (len(splits.train), len(splits.val), splits.facts) == (4, 3, FACTS)
    x, y = splits.train.batch(torch.tensor([2, 3]))
    assert y.tolist() == [4, 3]
    planes = pixels.reshape(2, 3, 32, 32) / 255
    for channel, (mean, std) in enumerate(((0.1, 0.5), (0.2, 1.0), (0.3, 2.0))):
        expected = (planes[:, channel] - mean) / std
        np.testing.assert_allclose(x[:, channel].numpy(), expected, atol=1e-6)
    assert [path.name for path in tmp_path.iterdir()] == ["c.tar.gz"]  # nothing is unpacked


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"c__one.bin": b"1"}, r"c/one\.bin has 1 bytes, expected a file of 6146"),
        ({"other": b"1"}, r"holds no c/one\.bin, c/two\.bin, c/test\.bin"),
    ],
)
def test_broken_cifar_members(tmp_path, members, message):
    with pytest.raises(UnusableFile, match=message):
        cifar.read(cifar_files(tmp_path, **members), FACTS, tmp_path)


def test_cifar_members_are_files_and_labels_in_range(tmp_path):
    (one, _), (test, _) = records([[0], [5]]), records([[0]] * 3)
    published = cifar_files(tmp_path, **{"c__one.bin": one, "c__two.bin": one, "c__test.bin": test})
    with pytest.raises(UnusableFile, match=r"label 5 is outside 0\.\.4"):
        cifar.read(published, FACTS, tmp_path)
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        link = tarfile.TarInfo("c/one.bin")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    with pytest.raises(UnusableFile, match="expected a file of"):
        cifar.read_members(_written(tmp_path, stream.getvalue()), {"c/one.bin": 0})


def _written(folder: Path, raw: bytes) -> Path:
    (folder / "x.tar.gz").write_bytes(raw)
    return folder / "x.tar.gz"


@pytest.mark.parametrize("cut", [0, 40, -3000])
def test_truncated_archives(tmp_path, cut):
    raw = tar_bytes(a=RNG.bytes(5000))
    with pytest.raises(UnusableFile, match=r"x\.tar\.gz: (not a whole|holds no)"):
        cifar.read_members(_written(tmp_path, raw[:cut]), {"a": 5000})


def test_declared_datasets_ask_for_the_published_files(tmp_path, monkeypatch):
    asked = []

    def offline(archive, cache, downloader=None):
        asked.append((cache.name, archive.file))
        raise UnusableFile("offline")

    monkeypatch.setattr(idx, "fetch", offline)
    monkeypatch.setattr(cifar, "fetch", offline)
    root = str(tmp_path)
    for read in (
        lambda: idx.load(Mnist(root=root), Path()),
        lambda: idx.load(FashionMnist(root=root), Path()),
        lambda: cifar.load(Cifar10(root=root), Path()),
    ):
        with pytest.raises(UnusableFile):
            read()
    assert asked == [
        ("mnist", "train-images-idx3-ubyte.gz"),
        ("fashion-mnist", "train-images-idx3-ubyte.gz"),
        ("cifar10", "cifar-10-binary.tar.gz"),
    ]
    assert idx.MNIST.archives != idx.FASHION_MNIST.archives


@pytest.mark.parametrize("augment", [True, False])
def test_only_training_cifar_images_are_augmented(monkeypatch, augment):
    monkeypatch.setattr(cifar, "read", lambda published, facts, cache, augment: augment)
    got = cifar.load(Cifar10(augment=augment), Path())
    assert got is (crop_and_flip if augment else None)


def test_published_sums_are_md5_sums():
    archives = [*idx.MNIST.archives, *idx.FASHION_MNIST.archives]
    archives += [cifar.CIFAR10.archive, cifar.CIFAR100.archive]
    assert all(len(bytes.fromhex(each.md5)) == 16 for each in archives)
    assert len({each.md5 for each in archives}) == 10

"""CIFAR-10 and CIFAR-100, in the binary version, which holds no pickles.

A record is one label byte (CIFAR-100: the coarse label, then the fine one), then 1,024 red, 1,024
green and 1,024 blue bytes, each row by row (https://www.cs.toronto.edu/~kriz/cifar.html).
"""

from __future__ import annotations

import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from lrrun.config.base import DataFacts
from lrrun.config.datasets import Cifar10, Cifar100
from lrrun.errors import UnusableFile
from lrrun.training.datasets.augment import crop_and_flip
from lrrun.training.datasets.base import Augment, Images, Splits
from lrrun.training.datasets.download import Archive, cache_folder, fetch

MIRRORS = ("https://www.cs.toronto.edu/~kriz/",)
PIXEL_BYTES = 3 * 32 * 32

Channels = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class CifarFiles:
    """The archive, its members, the label bytes of a record; mean and std of training channels."""

    archive: Archive
    train: tuple[str, ...]
    val: tuple[str, ...]
    label_bytes: int
    mean: Channels
    std: Channels


CIFAR10 = CifarFiles(
    Archive("cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530", MIRRORS),
    train=tuple(f"cifar-10-batches-bin/data_batch_{number}.bin" for number in range(1, 6)),
    val=("cifar-10-batches-bin/test_batch.bin",),
    label_bytes=1,
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2470, 0.2435, 0.2616),
)
CIFAR100 = CifarFiles(
    Archive("cifar-100-binary.tar.gz", "03b5dce01913d631647c71ecec9e9cb8", MIRRORS),
    train=("cifar-100-binary/train.bin",),
    val=("cifar-100-binary/test.bin",),
    label_bytes=2,
    mean=(0.5071, 0.4865, 0.4409),
    std=(0.2673, 0.2564, 0.2762),
)


def load(spec: Cifar10 | Cifar100, folder: Path) -> Splits:
    """Images (3, 32, 32), normalized per channel; `augment` adds random crops and flips."""
    published = CIFAR10 if isinstance(spec, Cifar10) else CIFAR100
    augment = crop_and_flip if spec.augment else None
    return read(published, spec.facts(folder), cache_folder(spec, folder), augment)


def read(
    published: CifarFiles, facts: DataFacts, cache: Path, augment: Augment | None = None
) -> Splits:
    """The images of an archive that holds what `facts` says; raises UnusableFile."""
    path = fetch(published.archive, cache)
    record = published.label_bytes + PIXEL_BYTES
    sizes = {
        **dict.fromkeys(published.train, facts.train_rows // len(published.train) * record),
        **dict.fromkeys(published.val, facts.val_rows // len(published.val) * record),
    }
    members = read_members(path, sizes)
    train = _images(path, b"".join(members[name] for name in published.train), facts, published)
    val = _images(path, b"".join(members[name] for name in published.val), facts, published)
    return Splits(train, val, facts, augment)


def read_members(path: Path, sizes: dict[str, int]) -> dict[str, bytes]:
    """The named members of a .tar.gz, each of exactly the given size in bytes, read into memory.

    All other members are passed over; nothing is written. Raises UnusableFile.
    """
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r|gz") as archive:
            for member in archive:
                if member.name not in sizes:
                    continue
                if not member.isfile() or member.size != sizes[member.name]:
                    raise UnusableFile(
                        f"{path}: {member.name} has {member.size} bytes, "
                        f"expected a file of {sizes[member.name]}"
                    )
                opened = archive.extractfile(member)
                found[member.name] = opened.read() if opened else b""
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise UnusableFile(f"{path}: not a whole .tar.gz archive: {error}") from error
    absent = [name for name in sizes if name not in found]
    if absent:
        raise UnusableFile(f"{path}: holds no {', '.join(absent)}")
    return found


def _images(path: Path, raw: bytes, facts: DataFacts, published: CifarFiles) -> Images:
    records = np.frombuffer(raw, np.uint8).reshape(-1, published.label_bytes + PIXEL_BYTES)
    y_N = torch.from_numpy(records[:, published.label_bytes - 1].astype(np.int64))
    if int(y_N.max()) >= facts.outputs:
        raise UnusableFile(f"{path}: label {int(y_N.max())} is outside 0..{facts.outputs - 1}")
    pixels = records[:, published.label_bytes :].copy()
    pixels_NCHW = torch.from_numpy(pixels.reshape(-1, *facts.inputs))
    return Images(pixels_NCHW, y_N, torch.tensor(published.mean), torch.tensor(published.std))

"""MNIST and Fashion-MNIST: four gzipped IDX files each.

IDX: two zero bytes, a type byte (8: unsigned bytes), the number of dimensions, each dimension as
a big-endian 32-bit number, then the bytes in row-major order (http://yann.lecun.com/exdb/mnist/).
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lrrun.config.base import DataFacts
from lrrun.config.datasets import FashionMnist, Mnist
from lrrun.errors import UnusableFile
from lrrun.training.datasets.base import Images, Splits
from lrrun.training.datasets.download import Archive, cache_folder, fetch

FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)


@dataclass(frozen=True, slots=True)
class IdxFiles:
    """Images and labels for training, then for validation; mean and std of the training pixels."""

    archives: tuple[Archive, Archive, Archive, Archive]
    mean: float
    std: float


def _published(
    mirrors: tuple[str, ...], sums: tuple[str, ...], mean: float, std: float
) -> IdxFiles:
    a, b, c, d = (Archive(file, md5, mirrors) for file, md5 in zip(FILES, sums, strict=True))
    return IdxFiles((a, b, c, d), mean, std)


MNIST = _published(
    (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    (
        "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "d53e105ee54ea40749a09fcbcd1e9432",
        "9fb629c4189551a2d022fa330f9573f3",
        "ec29112dd5afa0611ce80d1b7f02629c",
    ),
    mean=0.1307,
    std=0.3081,
)
FASHION_MNIST = _published(
    ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
    (
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "25c81989df183df01b3e8a0aad5dffbe",
        "bef4ecab320f06d8554ea6380940ec79",
        "bb300cfdad3c16e7a12a480ee83cd310",
    ),
    mean=0.2860,
    std=0.3530,
)


def load(spec: Mnist | FashionMnist, folder: Path) -> Splits:
    """Images (1, 28, 28), normalized by the training set's mean and std; no augmentation."""
    published = MNIST if isinstance(spec, Mnist) else FASHION_MNIST
    return read(published, spec.facts(folder), cache_folder(spec, folder))


def read(published: IdxFiles, facts: DataFacts, cache: Path) -> Splits:
    """The images and labels of four files that hold what `facts` says; raises UnusableFile."""
    paths = [fetch(archive, cache) for archive in published.archives]
    train = _images(paths[0], paths[1], facts.train_rows, facts, published)
    val = _images(paths[2], paths[3], facts.val_rows, facts, published)
    return Splits(train, val, facts)


def _images(images: Path, labels: Path, rows: int, facts: DataFacts, of: IdxFiles) -> Images:
    channels, *size = facts.inputs
    pixels_NCHW = read_idx(images, (rows, *size)).reshape(rows, channels, *size)
    y_N = read_idx(labels, (rows,)).long()
    if int(y_N.max()) >= facts.outputs:
        raise UnusableFile(f"{labels}: label {int(y_N.max())} is outside 0..{facts.outputs - 1}")
    return Images(pixels_NCHW, y_N, torch.tensor([of.mean]), torch.tensor([of.std]))


def read_idx(path: Path, shape: tuple[int, ...]) -> Tensor:
    """A gzipped IDX file of unsigned bytes as a uint8 tensor of `shape`; raises UnusableFile."""
    size = math.prod(shape)
    header = struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape)
    try:
        with gzip.open(path) as file:
            raw = file.read(len(header) + size + 1)  # one more than there should be, never a bomb
    except (OSError, EOFError, zlib.error) as error:
        raise UnusableFile(f"{path}: not a whole gzip file: {error}") from error
    if not raw.startswith(header) or len(raw) != len(header) + size:
        raise UnusableFile(f"{path}: expected an IDX file of {' x '.join(map(str, shape))} bytes")
    return torch.from_numpy(np.frombuffer(raw, np.uint8, offset=len(header)).copy().reshape(shape))

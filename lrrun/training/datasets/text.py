"""Text as a stream of bytes."""

from __future__ import annotations

import codecs
from pathlib import Path

import torch

from lrrun.config.base import DataFacts
from lrrun.config.datasets import Text
from lrrun.config.datasets.text import CorpusFile
from lrrun.errors import UnusableFile
from lrrun.training.datasets.base import Splits, Windows


def load(spec: Text, folder: Path) -> Splits:
    """Windows over the corpus; its last bytes are validation. Raises UnusableFile."""
    stream = bytearray()
    for file in spec.corpus(folder):
        stream += _read(file)
    train_bytes, _ = spec.split(len(stream))
    stream_S = torch.frombuffer(stream, dtype=torch.uint8)
    train = Windows(stream_S[:train_bytes], spec.context)
    val = Windows(stream_S[train_bytes:], spec.context)
    facts = DataFacts(len(train), len(val), "language", (spec.context,), 256, spec.context)
    return Splits(train, val, facts)


def _read(file: CorpusFile) -> bytes:
    """The bytes that the corpus takes of a file, once they are known to be UTF-8."""
    try:
        with file.path.open("rb") as opened:
            raw = opened.read(file.taken)
    except OSError as error:
        raise UnusableFile(f"{file.path}: {error.strerror}") from error
    if len(raw) != file.taken:
        raise UnusableFile(f"{file.path}: became shorter while it was read")
    try:
        # max_bytes may cut a character in two, which is no fault of the file
        codecs.getincrementaldecoder("utf-8")().decode(raw, final=file.taken == file.size)
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        wrong = raw[error.start]
        raise UnusableFile(
            f"{file.path}:{line}: byte 0x{wrong:02x} is not UTF-8; "
            'in a folder, `files: ["*.txt"]` chooses the files that are text'
        ) from error
    return raw

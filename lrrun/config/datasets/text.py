"""Text as bytes: which files make a corpus, in which order, and how many windows they hold."""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from lrrun.config.base import DataFacts
from lrrun.config.datasets.base import Dataset, PathText, ValFraction, exists, missing, resolve
from lrrun.errors import UnusableFile

Patterns = tuple[str, ...]
STDLIB = "python-stdlib"
STDLIB_BYTES = 4_000_000
STDLIB_SKIPPED = (
    # tests and installed packages, bulky applications, and tables written as Python by a program
    *("test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"),
    *("idlelib", "lib2to3", "turtledemo", "ensurepip"),
    *("encodings", "pydoc_data", "_sysconfigdata*"),
)


@dataclass(frozen=True, slots=True)
class CorpusFile:
    """A file of a corpus: its size in bytes, and how many of them (from its start) are taken."""

    path: Path
    size: int
    taken: int


class Text(Dataset):
    """UTF-8 text as byte tokens (vocabulary 256), cut into windows of `context` tokens.

    The files' bytes are joined, in the order of their paths, with nothing between. The last
    `val_fraction` of the bytes is validation. Row i predicts bytes i·C+1 … (i+1)·C from the C
    bytes before each, so every byte but a split's first, and its tail that fills no window, is
    predicted once an epoch.
    """

    name: Literal["text"] = "text"
    """The dataset's name."""

    path: PathText
    """A file; a folder, read recursively without hidden files; or `python-stdlib`, the source of
    the installed standard library (its text differs a little from one Python to the next)."""

    files: Annotated[tuple[str, ...], Field(strict=False, min_length=1)] = ("*",)
    """In a folder, the files whose names match one of these patterns, such as *.txt."""

    context: int = Field(128, ge=1)
    """Tokens a row (C)."""

    val_fraction: ValFraction = 0.1
    """The share of the bytes, at the end, that is validation."""

    max_bytes: Annotated[int, Field(ge=4)] | None = None
    """Only the first bytes of the corpus, this many; the default is all of them, and 4,000,000
    of python-stdlib."""

    def facts(self, folder: Path) -> DataFacts:
        """Windows in both parts, from the sizes of the files; nothing is read."""
        taken = sum(file.taken for file in self.corpus(folder))
        train, val = ((size - 1) // self.context for size in self.split(taken))
        return DataFacts(train, val, "language", (self.context,), 256, self.context)

    def corpus(self, folder: Path) -> list[CorpusFile]:
        """The files that the corpus is made of, in order, up to `max_bytes`.

        Raises UnusableFile when there are none, when they are empty, or when one is unreadable.
        """
        stdlib = self.path == STDLIB
        root = Path(sysconfig.get_path("stdlib")) if stdlib else self._root(folder)
        names, skipped = (("*.py",), STDLIB_SKIPPED) if stdlib else (self.files, ())
        limit = self.max_bytes or (STDLIB_BYTES if stdlib else None)
        files: list[CorpusFile] = []
        total = 0
        for path in [root] if root.is_file() else _walk(root, names, skipped):
            size = path.stat().st_size
            if not os.access(path, os.R_OK):
                raise UnusableFile(f"{path}: permission denied")
            taken = size if limit is None else min(size, limit - total)
            files.append(CorpusFile(path, size, taken))
            total += taken
            if total == limit:
                break
        if not files:
            raise UnusableFile(f"{root}: no file in this folder matches {', '.join(names)}")
        if not total:
            raise UnusableFile(f"{root}: empty, expected text")
        return files

    def split(self, size: int) -> tuple[int, int]:
        """(training bytes, validation bytes) of a corpus of `size` bytes.

        Raises UnusableFile when a part does not fill one window.
        """
        val = round(size * self.val_fraction)
        if min(val, size - val) <= self.context:
            raise UnusableFile(
                f"{self.path}: val_fraction {self.val_fraction:g} of {size} bytes leaves "
                f"{size - val} for training and {val} for validation; a window of context "
                f"{self.context} needs {self.context + 1} in each"
            )
        return size - val, val

    def _root(self, folder: Path) -> Path:
        root = resolve(self.path, folder)
        if not exists(root):
            raise UnusableFile(missing(self.path, folder, "file or folder"))
        if not root.is_file() and not root.is_dir():
            raise UnusableFile(f"{root}: expected a text file or a folder")
        return root


def _walk(folder: Path, names: Patterns, skipped: Patterns) -> Iterator[Path]:
    """Files below a folder, by name, folders where their names stand; links to folders are left."""
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise UnusableFile(f"{folder}: {error.strerror}") from error
    for entry in entries:
        if _matches(entry.name, (".*", *skipped)):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(folder / entry.name, names, skipped)
        elif entry.is_file() and _matches(entry.name, names):
            yield folder / entry.name


def _matches(name: str, patterns: Patterns) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)

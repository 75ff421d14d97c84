"""Checkpoint files: written whole or not at all, and never loaded when a bit of them has changed.

A checkpoint is a dict of plain values and dense CPU tensors that plain
`torch.load(path, weights_only=True)` reads. This module is the only one that calls torch.load.
"""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import torch

from lrrun.errors import EnvironmentFault, UnusableFile
from lrrun.runlog import files
from lrrun.training.checkpoint_seal import SealingFile, check_members, check_seal
from lrrun.training.checkpoint_values import plain, problem_of

OLDEST_TORCH = (2, 10)
"""Before this, `weights_only=True` could be tricked (CVE-2025-32434, CVE-2026-24747)."""

_UNSAFE = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"


def save(path: Path, content: dict[str, Any], sync_name: bool = True) -> None:
    """Write a checkpoint in place of `path`, durably, once it has been read back and proven.

    Without `sync_name` it is its name alone that a power cut may still take (`files.replacing`).

    Raises TypeError, naming the key path, for anything but plain values and dense CPU tensors;
    EnvironmentFault where the disk refuses. In both cases `path` is as it was.
    """
    content = plain(content)
    with files.replacing(path, check, sync_name) as handle:
        sealing = SealingFile(handle)
        try:
            torch.save(content, sealing)  # type: ignore[arg-type]
        except RuntimeError as error:
            if isinstance(error.__context__, (KeyboardInterrupt, MemoryError)):
                raise error.__context__ from None  # torch's writer, unwound, has only its own words
            raise
        finally:
            sealing.close()


def check(path: Path) -> None:
    """Raise UnusableFile unless `path` is, to the last bit, a checkpoint that `save` wrote."""
    _check(path).close()


def load(path: Path) -> dict[str, Any]:
    """Load a checkpoint onto the CPU, after its checksum and layout were checked.

    Raises UnusableFile, saying what is wrong: missing, truncated, checksum does not match, not an
    lrrun checkpoint, contains Python objects, refused. Raises EnvironmentFault where this torch,
    or the environment, would load code.
    """
    _refuse_unsafe_torch()
    with _check(path) as handle:
        handle.seek(0)
        try:
            content = torch.load(handle, weights_only=True, map_location="cpu")
        except pickle.UnpicklingError as error:
            raise UnusableFile(f"{path}: contains Python objects; refused") from error
        except Exception as error:
            raise UnusableFile(f"{path}: not an lrrun checkpoint: {_first_line(error)}") from error
    if type(content) is not dict:
        raise UnusableFile(f"{path}: not an lrrun checkpoint: holds a {type(content).__name__}")
    problem = problem_of(content)
    if problem is not None:
        raise UnusableFile(f"{path}: refused: {problem}")
    return content


def _check(path: Path) -> Any:
    """The open file, checked: what is then read is what was looked at, whatever its name is now."""
    try:
        handle = files.open_to_read(path)
    except FileNotFoundError:
        raise UnusableFile(f"{path}: no such checkpoint") from None
    try:
        check_seal(path, handle)
        check_members(path, handle)
    except BaseException:
        handle.close()
        raise
    return handle


def _refuse_unsafe_torch() -> None:
    version = tuple(int(part) for part in torch.__version__.split(".")[:2])
    if version < OLDEST_TORCH:
        raise EnvironmentFault(
            f"torch {torch.__version__} cannot load checkpoints safely; install 2.10 or newer"
        )
    if os.environ.get(_UNSAFE, "").lower() not in ("", "0", "false", "no", "n"):
        raise EnvironmentFault(f"{_UNSAFE} is set, which lets checkpoints run code; unset it")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]

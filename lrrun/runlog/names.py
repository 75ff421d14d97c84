"""Names of runs, the folders they reserve, and how a person refers to a run."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from lrrun.errors import UnusableFile, UsageError
from lrrun.registry import RUN_NAME_RULE, is_run_name, nearest
from lrrun.runlog import files

_NUMBERED = re.compile(r"(.+)-([1-9][0-9]{0,17})")
_SHOWN = 8

SWEEP = "sweep.yaml"
"""The file that makes a folder that of a sweep."""

SEARCH = "find.json"
"""The file that makes a folder that of a search for a learning rate."""


def check_name(name: str) -> str:
    """`name` itself, when it can begin a run folder's name; raises UsageError otherwise.

    >>> check_name("digits-cosine")
    'digits-cosine'
    """
    if is_run_name(name):
        return name
    shown = name if len(name) <= 120 else name[:120] + "..."
    raise UsageError(f"run name {shown!r}: {RUN_NAME_RULE}")


def create_run_folder(runs_dir: Path, name: str, sync: bool = True) -> Path:
    """Make and return `runs_dir/<name>-<n>` for the n after the highest one taken.

    Making the folder is the reservation: of two processes that ask at once, each gets its own.
    Without `sync` the caller waits for `runs_dir`, once for all the folders that it makes there.
    Raises UsageError for the name, EnvironmentFault where the disk refuses.
    """
    check_name(name)
    if runs_dir.exists() and not runs_dir.is_dir():
        raise UsageError(f"runs folder {str(runs_dir)!r}: there is a file of that name")
    files.make_folders(runs_dir)
    with files.environment_faults(runs_dir, "look into"):
        taken = [_NUMBERED.fullmatch(entry.name) for entry in runs_dir.iterdir()]
    number = 1 + max((int(match[2]) for match in taken if match and match[1] == name), default=0)
    while not files.make_folder(runs_dir / f"{name}-{number}", sync):
        number += 1
    return runs_dir / f"{name}-{number}"


def run_folders(runs_dir: Path) -> list[Path]:
    """The folders in `runs_dir` that are, or were meant to be, runs, by name.

    Links, files, hidden entries and folders of another kind are passed over. Raises UnusableFile
    where the folder cannot be read; one that is not there has no runs.
    """
    found = []
    try:
        with os.scandir(runs_dir) as entries:
            for entry in entries:
                if entry.name.startswith(".") or not entry.is_dir(follow_symlinks=False):
                    continue
                folder = runs_dir / entry.name
                if (folder / "run.json").exists() or (
                    _NUMBERED.fullmatch(entry.name) and not _is_other(folder)
                ):
                    found.append(folder)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UnusableFile(f"runs folder {str(runs_dir)!r}: {error.strerror}") from error
    return sorted(found, key=sort_key)


def sweep_folders(runs_dir: Path) -> list[Path]:
    """The folders in `runs_dir` that hold sweeps, by name."""
    try:
        with os.scandir(runs_dir) as entries:
            names = [each.name for each in entries if each.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    found = (runs_dir / name for name in names if _NUMBERED.fullmatch(name))
    return sorted((each for each in found if (each / SWEEP).is_file()), key=sort_key)


def _is_other(folder: Path) -> bool:
    """Is it the folder of a sweep or of a learning-rate search?"""
    return any((folder / name).exists() for name in (SWEEP, SEARCH))


def sort_key(folder: Path) -> tuple[str, int]:
    """Order by name, then by number as a number: digits-2 comes before digits-10."""
    match = _NUMBERED.fullmatch(folder.name)
    return (match[1], int(match[2])) if match else (folder.name, 0)


def match_run(reference: str, runs_dir: Path) -> Path | None:
    """The folder that `reference` means: a path, a name in `runs_dir`, or a unique prefix of one.

    None where nothing matches. Raises UsageError where several do, UnusableFile for a link.
    """
    as_path = Path(reference)
    if os.sep in reference or (os.altsep and os.altsep in reference) or reference in (".", ".."):
        paths = (as_path, runs_dir / reference)  # the second: a trial, as its sweep names it
        return next((_real_folder(path) for path in paths if os.path.lexists(path)), None)
    if reference and os.path.lexists(runs_dir / reference):
        return _real_folder(runs_dir / reference)
    if (as_path / "run.json").is_file():
        return _real_folder(as_path)
    folders = [each for each in run_folders(runs_dir) if each.name.startswith(reference)]
    if reference and len(folders) > 1:
        raise UsageError(
            f"run {reference!r} is ambiguous: {_listed(each.name for each in folders)}; "
            "write one of these"
        )
    return folders[0] if reference and folders else None


def unknown_run(reference: str, runs_dir: Path) -> UsageError:
    """What to raise for a reference that means no run, with the nearest names there are."""
    names = [each.name for each in run_folders(runs_dir)]
    if not names:
        return UsageError(
            f"no run {reference!r}: there are no runs in {str(runs_dir)!r} yet; "
            "`lrrun train CONFIG` makes one, --runs-dir looks elsewhere"
        )
    match = nearest(reference, names)
    hint = f"did you mean {match}? " if match else ""
    return UsageError(
        f"no run {reference!r} in {str(runs_dir)!r}; {hint}the runs are {_listed(names)}"
    )


def _real_folder(path: Path) -> Path:
    if path.is_symlink():
        raise UnusableFile(f"{str(path)!r} is a link; name the folder that it points to")
    if not path.is_dir():
        raise UnusableFile(f"{str(path)!r} is not a run's folder; expected the folder of a run")
    return path


def _listed(names: Iterable[str]) -> str:
    shown = list(names)
    rest = len(shown) - _SHOWN
    text = ", ".join(name if name.isprintable() else repr(name) for name in shown[:_SHOWN])
    return text + (f" and {rest} more" if rest > 0 else "")

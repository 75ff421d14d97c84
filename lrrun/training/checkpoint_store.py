"""The checkpoints of a run: which files there are, which one to go on from, which to let go."""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lrrun.errors import UnusableFile
from lrrun.runlog import files
from lrrun.training import checkpoint_files

BEST = "best.pt"
LAST = "last.pt"
NEXT = "next.pt"

_KEPT = re.compile(r"step-([0-9]{1,18})\.pt")
_BAD = ".bad"


@dataclass(frozen=True)
class Found:
    """A checkpoint to go on from; `notes` says, a line each, what was wrong with newer ones."""

    path: Path
    content: dict[str, Any]
    notes: tuple[str, ...] = field(default=())


class Store:
    """The folder checkpoints/ of the run `run_id`.

    last.pt, previous.pt (the one before it; previous-2.pt and so on where more are kept), best.pt,
    and step-N.pt, which stay. Each holds `step`; the store adds `run`, which it belongs to. A
    next.pt is a last.pt that a crash kept from its name: it is as good.
    """

    def __init__(self, folder: Path, run_id: str, last: int = 2) -> None:
        """`last`, at least 1, is how many of the latest to keep; UnusableFile for a link."""
        if last < 1:
            raise ValueError(f"last: expected 1 or more, got {last}")
        if folder.is_symlink():
            raise UnusableFile(f"{str(folder)!r} is a link; expected a folder of the run's own")
        self.folder = folder
        self.run_id = run_id
        older = [f"previous-{k}.pt" if k > 1 else "previous.pt" for k in range(1, last)]
        self._latest = [LAST, *older]

    def save_last(self, content: dict[str, Any]) -> Path:
        """Make `content` last.pt; what was last.pt becomes previous.pt.

        The new file is whole, proven and on the disk before an older one gives way, and a last.pt
        that has gone bad since displaces no good one. As it is there as next.pt by then, nobody
        waits for its new name: whichever renames a power cut undoes, it is found. Raises as
        `checkpoint_files.save`.
        """
        new = self._save(NEXT, content)
        if os.path.lexists(self.folder / LAST):
            if self._is_whole(LAST):
                self._shift()
            else:
                self._set_aside(LAST)
        files.rename(new, self.folder / LAST, sync_name=False)
        return self.folder / LAST

    def save_best(self, content: dict[str, Any], sync_name: bool = True) -> Path:
        """Make `content` best.pt; without `sync_name` the next save makes sure of its name."""
        return self._save(BEST, content, sync_name)

    def save_kept(self, content: dict[str, Any]) -> Path:
        """Write `content` as step-N.pt, which stays."""
        return self._save(f"step-{content['step']}.pt", content)

    def kept_steps(self) -> list[int]:
        """The steps of the step-N.pt there are, in order."""
        matches = (_KEPT.fullmatch(name) for name in self._names())
        return sorted(int(match[1]) for match in matches if match)

    def load(self, name: str) -> dict[str, Any]:
        """Load one checkpoint of this run; raises UnusableFile where it is not a good one."""
        path = self.folder / name
        content = checkpoint_files.load(path)
        run, step, kept = content.get("run"), content.get("step"), _KEPT.fullmatch(name)
        if run != self.run_id:
            raise UnusableFile(f"{path}: belongs to another run ({str(run)[:40]!r})")
        if type(step) is not int or step < 0:
            raise UnusableFile(f"{path}: not an lrrun checkpoint: it has no step")
        if kept and int(kept[1]) != step:
            raise UnusableFile(f"{path}: refused: its name says another step than its {step}")
        return content

    def newest_good(self, set_aside: bool = False) -> Found | None:
        """The newest whole checkpoint; None where the run has never saved one.

        Where newer ones are bad, the notes say so, and `set_aside` renames them to *.bad (only for
        the holder of the run's lock). Raises UnusableFile, naming each, where all are bad: then
        nothing is renamed.
        """
        names = self._names()
        bad: dict[str, str] = {}
        found: Found | None = None
        for name in (NEXT, *self._latest):
            if found is None and name in names:
                found = self._try(name, bad)
        for step in reversed(self.kept_steps()):
            if found is None or step > found.content["step"]:
                found = self._try(f"step-{step}.pt", bad) or found
        if found is None:
            if bad or any(name.endswith(_BAD) for name in names):
                reasons = "; ".join(bad.values()) or "all were set aside as *.bad before"
                raise UnusableFile(f"{self.folder}: no checkpoint is whole: {reasons}")
            return None
        if LAST not in names and found.path.name != NEXT:
            bad.setdefault(LAST, f"{self.folder / LAST}: missing")
        if set_aside:
            for name in bad:
                self._set_aside(name)
        notes = [*bad.values()]
        if notes:
            notes.append(f"going on from {found.path.name}, step {found.content['step']}")
        return Found(found.path, found.content, tuple(notes))

    def _try(self, name: str, bad: dict[str, str]) -> Found | None:
        try:
            return Found(self.folder / name, self.load(name))
        except UnusableFile as error:
            bad[name] = str(error)
            return None

    def _save(self, name: str, content: dict[str, Any], sync_name: bool = True) -> Path:
        if type(content.get("step")) is not int:
            raise TypeError(f"checkpoint.step: expected an int, got {content.get('step')!r}")
        path = self.folder / name
        checkpoint_files.save(path, {**content, "run": self.run_id}, sync_name)
        return path

    def _shift(self) -> None:
        """Give every one of the latest the name of the one before it; the oldest goes."""
        for newer, older in reversed([*zip(self._latest, self._latest[1:], strict=False)]):
            if os.path.lexists(self.folder / newer):
                files.rename(self.folder / newer, self.folder / older, sync_name=False)

    def _is_whole(self, name: str) -> bool:
        try:
            checkpoint_files.check(self.folder / name)
        except UnusableFile:
            return False
        return True

    def _set_aside(self, name: str) -> None:
        """Rename a bad one to *.bad, in place of an earlier one of that name."""
        if os.path.lexists(self.folder / name):
            with contextlib.suppress(IsADirectoryError):
                files.rename(self.folder / name, self.folder / (name + _BAD))

    def _names(self) -> set[str]:
        with contextlib.suppress(FileNotFoundError):
            return {each.name for each in os.scandir(self.folder)}
        return set()

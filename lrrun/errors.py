"""Every error that lrrun raises on purpose, and the exit code that each one ends with.

    LrrunError
    ├── ConfigError          2   a config or an override is wrong; holds every Problem found
    ├── UsageError           2   a command line that cannot be carried out
    ├── UnusableFile         3   a dataset, run, checkpoint or log that cannot be used
    ├── EnvironmentFault     5   disk, memory, permission, worker: the run can be resumed
    │   └── MissingExtra     5   a package that is not installed; says which extra brings it
    ├── RunBusy              6   another process writes this run
    ├── GateNotMet           7   a comparison's gate was not met
    └── NoAnswer             8   find refuses to answer

A run that ends as `diverged` is not an error but an Outcome (records.py); its exit code is
`EXIT_DIVERGED`. Anything that is not an LrrunError is a bug of ours (exit code 70).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum


class Exit(IntEnum):
    """The documented exit codes of the `lrrun` command; 128+n follows signal n."""

    DONE = 0
    PARTLY_FAILED = 1
    BAD_CONFIG = 2
    UNUSABLE_FILE = 3
    DIVERGED = 4
    ENVIRONMENT = 5
    BUSY = 6
    GATE_NOT_MET = 7
    NO_ANSWER = 8
    BUG = 70


KeyPath = tuple[str | int, ...]
"""Where a value sits in a config: ("optimizer", "lr"), ("scheduler", 0, "for")."""


def dotted(path: KeyPath) -> str:
    """Write a key path as people say it.

    >>> dotted(("scheduler", 0, "for"))
    'scheduler[0].for'
    """
    text = ""
    for key in path:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else key
    return text


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding about one key: what was expected, what was got, what to do."""

    path: KeyPath
    message: str
    where: str = ""
    """`file:line`, or `command line`; filled in by config/, which knows the text."""

    def __str__(self) -> str:
        parts = (self.where, dotted(self.path), self.message)
        return ": ".join(part for part in parts if part)


class LrrunError(Exception):
    """The root of the tree; `exit_code` is what the command ends with."""

    exit_code: Exit = Exit.BUG


class ConfigError(LrrunError):
    """A config, an override or a schedule's arguments are wrong; holds every Problem found."""

    exit_code = Exit.BAD_CONFIG

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class UsageError(LrrunError):
    """The command line asks for something that cannot be done."""

    exit_code = Exit.BAD_CONFIG


class UnusableFile(LrrunError):
    """A file on disk (data, run, checkpoint, log) is missing, broken or of another kind."""

    exit_code = Exit.UNUSABLE_FILE


class EnvironmentFault(LrrunError):
    """The machine failed us (disk full, permission, memory); what is on disk stays whole."""

    exit_code = Exit.ENVIRONMENT


class MissingExtra(EnvironmentFault):
    """An option needs a package that only an extra of lrrun installs."""

    def __init__(self, needed_by: str, package: str, extra: str, instead: str = "") -> None:
        """`needed_by` is what was asked for; `instead` is what can be done without the package."""
        way_out = f'pip install "lrrun[{extra}]"' + (f", or {instead}" if instead else "")
        super().__init__(f"{needed_by} needs {package}, which is not installed: {way_out}")


class RunBusy(LrrunError):
    """Another process holds the run's lock."""

    exit_code = Exit.BUSY


class GateNotMet(LrrunError):
    """A `compare --gate` condition did not hold."""

    exit_code = Exit.GATE_NOT_MET


class NoAnswer(LrrunError):
    """The data do not support an answer, and saying one would mislead."""

    exit_code = Exit.NO_ANSWER

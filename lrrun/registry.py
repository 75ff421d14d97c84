"""Names → things: nearest matches, import paths, and the check of arguments against a signature."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from lrrun.errors import ConfigError, KeyPath, Problem

IMPORT_PATH = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")

RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
RUN_NAME_RULE = (
    "expected 1 to 100 letters, digits, '.', '_' or '-', beginning with a letter or digit, "
    "without '..' and not ending in '.'"
)

DEVICES = frozenset(
    ("CON", "PRN", "AUX", "NUL", *(f"{port}{k}" for port in ("COM", "LPT") for k in range(1, 10)))
)
"""Names that Windows keeps for itself, whatever ending they have."""


def is_run_name(text: str) -> bool:
    """True for a text that can begin a run folder's name: it cannot leave the runs' folder.

    >>> is_run_name("digits-cosine"), is_run_name("../x"), is_run_name("a..b")
    (True, False, False)
    """
    device = text.partition(".")[0].upper() in DEVICES
    whole = bool(RUN_NAME.fullmatch(text)) and ".." not in text and not text.endswith(".")
    return whole and not device


SYNONYMS = {
    "learning-rate": "lr",
    "lr-scheduler": "scheduler",
    "schedule": "scheduler",
    "num-epochs": "epochs",
    "max-steps": "steps",
    "bs": "batch_size",
    "grad-clip": "clip_norm",
    "gradient-accumulation": "accumulate",
    "data": "dataset",
    **dict.fromkeys(("min-lr", "eta-min", "end-lr", "lr-end", "min-lr-ratio", "alpha-f"), "final"),
    **dict.fromkeys(("num-warmup-steps", "t-warmup", "warmup-ratio", "warmup-iters"), "warmup"),
    "num-decay-steps": "cooldown",
    "num-cycles": "cycles",
    "gamma": "factor",
    "step-size": "every",
    "milestones": "at",
}
"""What other tools call a key → what it is called here."""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that `name` most likely meant, or None.

    >>> nearest("cosin", ["constant", "cosine"])
    'cosine'
    """
    folded = {candidate.lower().replace("_", "-"): candidate for candidate in known}
    folded |= {said: meant for said, meant in SYNONYMS.items() if meant in folded.values()}
    key = name.lower().replace("_", "-")
    close = difflib.get_close_matches(key, folded, n=1, cutoff=0.6)
    return folded[close[0]] if close else None


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """The message for an unknown name.

    >>> unknown("scheduler", "cosin", ["constant", "cosine"])
    "unknown scheduler 'cosin'; did you mean cosine? (2 known: constant, cosine)"
    """
    names = sorted(known)
    match = nearest(name, names)
    hint = f"; did you mean {match}?" if match else ""
    shown = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    return f"unknown {kind} {name!r}{hint} ({len(names)} known: {shown})"


def is_import_path(name: str) -> bool:
    """True for `package.module:name`, the form in which a config names somebody's own code."""
    return IMPORT_PATH.fullmatch(name) is not None


def import_object(name: str, path: KeyPath, folder: Path | None = None) -> Any:
    """The object that an import path names; modules are also looked for in `folder`.

    `folder` is where the config file lies. Raises ConfigError at `path` when the module or the
    name in it does not exist, or when importing it fails.
    """
    module_name, _, attributes = name.partition(":")
    module = _import_module(module_name, path, folder)
    found: Any = module
    for attribute in attributes.split("."):
        if not hasattr(found, attribute):
            public = [each for each in vars(found) if not each.startswith("_")]
            match = nearest(attribute, public)
            hint = f"; did you mean {match}?" if match else ""
            raise ConfigError([Problem(path, f"{module_name} has no {attribute!r}{hint}")])
        found = getattr(found, attribute)
    return found


def _import_module(name: str, path: KeyPath, folder: Path | None) -> ModuleType:
    added = str(folder.resolve()) if folder else None
    if added and added not in sys.path:
        sys.path.insert(0, added)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or name
        if name == missing or name.startswith(missing + "."):
            looked = f" (looked beside the config, in {folder}, too)" if folder else ""
            looked += "; PYTHONPATH=FOLDER lrrun ... looks in FOLDER as well"
            text = f"there is no module {missing!r}{looked}"
        else:
            text = f"importing {name} failed: it needs {missing!r}, which is not installed"
        raise ConfigError([Problem(path, text)]) from error
    except Exception as error:  # somebody's code: whatever it raises is their message
        text = f"importing {name} failed: {type(error).__name__}: {error}"
        raise ConfigError([Problem(path, text)]) from error


def import_callable(
    name: str,
    arguments: Mapping[str, object],
    section: KeyPath,
    folder: Path | None = None,
    filled: Iterable[str] = (),
    leading: int = 0,
) -> Callable[..., Any]:
    """The class or function that a section of a config names, its arguments held against it.

    `filled` names the parameters that lrrun gives it by itself, `leading` counts those that it
    gives by position. Raises ConfigError with every argument that is unknown or missing; what is
    named is imported, but not called.
    """
    found = import_object(name, (*section, "name"), folder)
    if not callable(found):
        text = f"expected a class or function, {name} is {found!r}"
        raise ConfigError([Problem((*section, "name"), text)])
    try:
        first = list(inspect.signature(found).parameters)[:leading]
    except (TypeError, ValueError):  # written in C: what it takes shows when it is called
        return found  # type: ignore[no-any-return]
    problems = signature_problems(found, arguments, section, given=(*filled, *first))
    if problems:
        raise ConfigError(problems)
    return found  # type: ignore[no-any-return]


def signature_problems(
    target: Callable[..., Any],
    arguments: Mapping[str, object],
    path: KeyPath,
    given: Iterable[str] = (),
) -> list[Problem]:
    """What is wrong with calling `target(**arguments)`, by names alone; `target` is not called.

    `given` names the parameters that lrrun itself fills in.
    """
    try:
        parameters = inspect.signature(target).parameters
    except (TypeError, ValueError):
        return []
    if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values()):
        accepted = None
    else:
        accepted = [
            name
            for name, each in parameters.items()
            if each.kind
            in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        ]
    problems = []
    for name in arguments:
        if accepted is not None and name not in accepted:
            problems.append(Problem((*path, name), unknown_argument(name, accepted)))
    filled = {*arguments, *given}
    for name, each in parameters.items():
        needed = each.default is inspect.Parameter.empty and each.kind in (
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            inspect.Parameter.KEYWORD_ONLY,
        )
        if needed and name not in filled:
            problems.append(Problem(path, f"{name} is missing: {_name_of(target)} needs it"))
    return problems


def unknown_argument(name: str, accepted: Iterable[str]) -> str:
    """The message for an argument that is not there."""
    names = list(accepted)
    match = nearest(name, names)
    hint = f"did you mean {match}? " if match else ""
    takes = f"it takes {', '.join(names) if names else 'no arguments'}"
    return f"unknown key; {hint}({takes})" if hint else f"unknown key; {takes}"


def _name_of(target: Callable[..., Any]) -> str:
    return getattr(target, "__qualname__", repr(target))

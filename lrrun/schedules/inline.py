"""A schedule on one line of a shell: `cosine warmup=5% final=1%`."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

from lrrun.errors import UsageError

_PAIR = re.compile(r"([A-Za-z_]\w*)=(?!=)(.*)", re.DOTALL)
_LIST = re.compile(r"\[(.*)\]|(.+,.*)", re.DOTALL)


def read_inline(text: str) -> dict[str, Any]:
    """The mapping that an inline spec stands for: a name, then key=value pairs.

    Values are JSON where they are JSON (`[0.5, 0.75]`, `true`), a list where they have commas, else
    text, which the parameter reads as a length, a height or a number. A word without `=` goes with
    the value before it, so that a length may have its space. Raises UsageError for anything else.

    >>> read_inline("step every=30 epochs factor=0.5")
    {'name': 'step', 'every': '30 epochs', 'factor': 0.5}
    >>> read_inline("multistep at=30%,60%")
    {'name': 'multistep', 'at': ['30%', '60%']}
    """
    try:
        name, *pairs = shlex.split(text)
    except ValueError as error:  # no words at all, or a quote without its other half
        why = "expected a name" if not text.strip() else f"{error}; write it as name key=value"
        raise UsageError(f"schedule {text!r}: {why}") from None
    written: dict[str, str] = {}
    key = ""
    for pair in pairs:
        found = _PAIR.fullmatch(pair)
        if found is not None:
            key, value = found.groups()
            if key in written:
                raise UsageError(f"schedule {text!r}: {key} is given twice")
            written[key] = value
        elif key:
            written[key] += f" {pair}"
        else:
            raise UsageError(
                f"schedule {text!r}: expected key=value such as warmup=5%, got {pair!r}"
            )
    return {"name": name, **{key: _value(value) for key, value in written.items()}}


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        pass
    several = None if _is_code(text) else _LIST.fullmatch(text.strip())
    if several is None:
        return text
    inside = several[1] if several[1] is not None else several[2]
    return [_value(each.strip()) for each in inside.split(",") if each.strip()]


def _is_code(text: str) -> bool:
    """Is it an expression, whose commas part arguments, and not a list of values?"""
    return any(mark in text for mark in "(){}:")

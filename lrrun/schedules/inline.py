"""A schedule on one line of a shell: `cosine warmup=5% final=1%`."""

from __future__ import annotations

import json
import shlex
from typing import Any

from lrrun.errors import UsageError


def read_inline(text: str) -> dict[str, Any]:
    """The mapping that an inline spec stands for: a name, then key=value pairs.

    Values are JSON where they are JSON (`[0.5, 0.75]`, `true`), else text, which the parameter
    reads as a length, a height or a number. Raises UsageError for anything that is not key=value.

    >>> read_inline("step every=10% factor=0.5")
    {'name': 'step', 'every': '10%', 'factor': 0.5}
    """
    try:
        name, *pairs = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"schedule {text!r}: {error}") from None
    spec: dict[str, Any] = {"name": name}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UsageError(
                f"schedule {text!r}: expected key=value such as warmup=5%, got {pair!r}"
            )
        spec[key] = _value(value)
    return spec


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text

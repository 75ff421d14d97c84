"""The types of config values that need more than a plain type: lengths, token counts, names."""

from __future__ import annotations

import functools
from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    TypeAdapter,
    WithJsonSchema,
)

from lrrun.registry import RUN_NAME, RUN_NAME_RULE, is_run_name
from lrrun.units import Length

DEVICE = r"^(auto|cpu|mps|cuda(:\d+)?)$"
"""The devices that a config can name."""


def _length(written: object) -> Length:
    length = Length.parse(written)
    if length.unit == "rest" or length.value == 0:
        raise ValueError(f"expected a length of at least one step, got {written}")
    return length


def _tokens(written: object) -> int:
    if isinstance(written, str):
        length = Length.parse(written if "tok" in written else f"{written} tokens")
        if length.unit != "tokens":
            raise ValueError(f"expected a number of tokens such as 300M, got {written!r}")
        return int(length.value)
    if isinstance(written, bool) or not isinstance(written, int):
        raise ValueError(f"expected a number of tokens such as 300M, got {written!r}")
    return written


def _run_name(written: object) -> str:
    if not isinstance(written, str) or not is_run_name(written):
        raise ValueError(f"{RUN_NAME_RULE}, got {written!r}")
    return written


LengthField = Annotated[
    Length,
    PlainValidator(_length),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": ["string", "integer"], "examples": ["500 steps", "2 epochs", "5%"]}),
]
TokensField = Annotated[int, BeforeValidator(_tokens), Field(ge=1)]
RunName = Annotated[
    str,
    PlainValidator(_run_name),
    WithJsonSchema({"type": "string", "pattern": f"^{RUN_NAME.pattern}$"}),
]
Count = Annotated[int, Field(ge=1, le=10_000_000)]
Seed = Annotated[int, Field(ge=0, le=2**63 - 1)]


@functools.cache
def adapter(kind: Any) -> TypeAdapter[Any]:
    """What reads a value of this type, strictly; a sweep reads thousands."""
    return TypeAdapter(kind, config={"strict": True})

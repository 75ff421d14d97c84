"""What every section of a config is: strict, frozen, no unknown keys."""

from __future__ import annotations

import ast
import inspect
import textwrap
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, cast

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler

from lrrun.units import Length

if TYPE_CHECKING:
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema

Task = Literal["classification", "regression", "language"]

METRICS: dict[Task, tuple[str, ...]] = {
    "classification": ("val_loss", "val_acc"),
    "regression": ("val_loss", "val_mae", "val_r2"),
    "language": ("val_loss", "val_acc", "val_bits"),
}
"""What an evaluation measures, by task, in the order of the columns."""


class Section(BaseModel):
    """A mapping of the config file; nothing is coerced, nothing unknown is let through."""

    # Only what a config names is built (`defer_build`), and docstrings are read for the JSON Schema
    # alone (not by `use_attribute_docstrings`): both took a fifth of every command's time.
    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True, strict=True)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """The JSON Schema, each key described by the docstring under its field."""
        schema = handler(core_schema)
        keys = handler.resolve_ref_schema(schema).get("properties", {})
        for section in cls.__mro__:
            if issubclass(section, Section):
                for name, text in _field_docstrings(section).items():
                    keys.get(name, {}).setdefault("description", text)
        for name, field in cls.model_fields.items():
            if isinstance(field.default, Length):
                keys[name]["default"] = str(field.default)  # as a config writes it
        return schema


def _field_docstrings(section: type[Section]) -> dict[str, str]:
    """The string under each field in a class's source, as an editor shows it."""
    source = textwrap.dedent(inspect.getsource(section))
    body = cast(ast.ClassDef, ast.parse(source).body[0]).body
    return {
        field.target.id: inspect.cleandoc(below.value.value)
        for field, below in pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(below, ast.Expr)
        and isinstance(below.value, ast.Constant)
        and isinstance(below.value.value, str)
    }


@dataclass(frozen=True, slots=True)
class DataFacts:
    """What can be known of a dataset without loading it.

    `inputs` is the shape of one sample without the batch: (1, 8, 8) for an image (C, H, W), (20,)
    for a row of features, (context,) for a window of tokens. `outputs` is the number of classes,
    of regression targets, or the size of the vocabulary. `tokens_per_row` is None unless the task
    is "language".
    """

    train_rows: int
    val_rows: int
    task: Task
    inputs: tuple[int, ...]
    outputs: int
    tokens_per_row: int | None = None

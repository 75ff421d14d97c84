"""Blocks → a snippet in Python, torch, Keras or optax, as a person would have written it."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

from lrrun.schedules.export.blocks import Block, Table
from lrrun.schedules.export.code import (
    MATH,
    Language,
    Writer,
    arrays,
    number,
    shared,
    shared_by_branches,
)
from lrrun.schedules.export.symbols import Formula, counted_down
from lrrun.schedules.export.tables import (
    definitions,
    indented,
    jax_row,
    keras_row,
    python_row,
    table_names,
)

Target = Literal["torch", "keras", "optax", "python"]

DOC = '"""The learning rate of update `step`, counted from 0."""'


def python(blocks: Sequence[Block], last: int, base: float) -> str:
    """A function lr(step) that needs the standard library alone."""
    tables, body = _branches(blocks)
    lines = ["def lr(step):", f"    {DOC}", f"    step = min(step, {last})", *indented(body)]
    modules = [name for name in ("bisect", "math") if any(f"{name}." in line for line in lines)]
    heads = [f"import {name}" for name in modules]
    return _joined(heads, tables, lines)


def torch(blocks: Sequence[Block], last: int, base: float) -> str:
    """The same function, and the LambdaLR that makes an optimizer follow it."""
    plain = python(blocks, last, base)
    imports = "from torch.optim.lr_scheduler import LambdaLR"
    head, gap, rest = plain.partition("\n\n")
    if head.startswith("import"):
        plain = f"{head}\n\n{imports}{gap}{rest}"
    else:
        plain = f"{imports}\n\n\n{plain}"
    return plain + textwrap.dedent(f'''

        def make_scheduler(optimizer):
            """For an optimizer with lr={number(base)}: step() it after every optimizer.step()."""
            return LambdaLR(optimizer, lambda step: lr(step) / {number(base)})
        ''')


def keras(blocks: Sequence[Block], last: int, base: float) -> str:
    """A LearningRateSchedule, in keras.ops: it runs under every backend and inside its graphs."""
    language = arrays("ops.", "round")
    tables, body = _choices(blocks, language, keras_row)
    lines = [
        "class Schedule(keras.optimizers.schedules.LearningRateSchedule):",
        '    """Pass an instance to the optimizer: learning_rate=Schedule()."""',
        "",
        "    def __call__(self, step):",
        f'        step = ops.minimum(ops.cast(step, "float32"), {last})',
        *indented(body, 2),
        "",
        "    def get_config(self):",
        "        return {}",
    ]
    heads = ["import math", ""] if any("math." in line for line in lines) else []
    return _joined([*heads, "import keras", "from keras import ops"], tables, lines)


def optax(blocks: Sequence[Block], last: int, base: float) -> str:
    """A function of a count that jax may trace: what optax calls a schedule."""
    tables, body = _choices(blocks, arrays("jnp.", "rint"), jax_row)
    lines = [
        "def lr(count):",
        '    """Pass it to the optimizer: learning_rate=lr."""',
        f"    step = jnp.minimum(jnp.asarray(count, jnp.float32), {last})",
        *indented(body),
    ]
    heads = ["import math", ""] if any("math." in line for line in lines) else []
    return _joined([*heads, "import jax.numpy as jnp"], tables, lines)


WRITERS: dict[Target, Callable[[Sequence[Block], int, float], str]] = {
    "python": python,
    "torch": torch,
    "keras": keras,
    "optax": optax,
}


def _branches(blocks: Sequence[Block]) -> tuple[list[str], list[str]]:
    """(tables, statements): a block after another, each behind the step at which it ends."""
    tables, body = [], []
    for k, block in enumerate(blocks):
        inner = []
        writer = Writer(MATH)
        if block.table is not None:
            starts, columns = table_names(k, blocks)
            tables += definitions(block.table, starts, columns)
            inner.append(f"k = {python_row(block.table, starts)}")
            writer = Writer(MATH, [f"{name}[k]" for name in (*columns, starts)])
        inner += _statements(block.formula, writer)
        if k + 1 < len(blocks):
            inner = [f"if step < {blocks[k + 1].first}:", *indented(inner)]
        body += inner
    return tables, body


def _statements(formula: Formula, writer: Writer) -> list[str]:
    """What returns a formula: its repeated parts by name, a choice as an if."""
    if isinstance(formula, float) or formula.op != "where":
        return [*map(writer.name, shared([formula])), f"return {writer.text(formula)}"]
    condition, yes, no = formula.args
    lines = [*map(writer.name, shared_by_branches(formula)), f"if {writer.text(condition)}:"]
    for branch, levels in ((yes, 1), (no, 0)):
        inner = Writer(writer.language, writer.columns, writer.names)
        lines += indented(_statements(branch, inner), levels)
    return lines


def _choices(
    blocks: Sequence[Block], language: Language, row: Callable[[Table, str], str]
) -> tuple[list[str], list[str]]:
    """(tables, statements): every block is computed, and the one that holds is chosen."""
    blocks = [replace(block, formula=counted_down(block.formula)) for block in blocks]
    tables: list[str] = []
    body: list[str] = []
    values = []
    common = Writer(language)
    body += map(common.name, shared([each.formula for each in blocks if each.table is None]))
    for k, block in enumerate(blocks):
        writer = common
        if block.table is not None:
            starts, columns = table_names(k, blocks)
            tables += definitions(block.table, starts, columns)
            body.append(f"k = {row(block.table, starts)}")
            take = "ops.take(ops.array({}), k)" if language.prefix == "ops." else "jnp.array({})[k]"
            used = [*columns, starts] if block.table.of_starts else columns
            body += [f"{each.lower()} = {take.format(each)}" for each in used]
            writer = Writer(language, [each.lower() for each in used])
        values.append(writer.text(block.formula))
    if len(values) == 1:
        constant = isinstance(blocks[0].formula, float)
        value = f"{language.prefix}full_like(step, {values[0]})" if constant else values[0]
        return tables, [*body, f"return {value}"]
    body.append(f"lr = {values[-1]}")
    for k in range(len(values) - 2, -1, -1):
        choice = f"{language.prefix}where(step < {blocks[k + 1].first}, {values[k]}, lr)"
        body.append(f"lr = {choice}" if k else f"return {choice}")
    return tables, body


def _joined(heads: Sequence[str], tables: Sequence[str], lines: Sequence[str]) -> str:
    sections = ["\n".join(heads)] if heads else []
    if tables:
        sections.append("\n".join(tables))
    return "\n\n".join([*sections, ("\n" if sections else "") + "\n".join(lines)]) + "\n"

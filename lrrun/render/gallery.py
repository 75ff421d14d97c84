"""The gallery of schedules, docs/schedules.md: written by `python -m lrrun.render.gallery`.

Everything in it is read from the catalogue, so that a schedule that is registered is in it.
"""

from __future__ import annotations

import inspect
import re
import sys
import typing
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import yaml

from lrrun.render.drawing import drawing
from lrrun.render.gallery_table import EXAMPLES, OTHERS, Spec
from lrrun.runlog import files
from lrrun.schedules import CATALOGUE, build, parse
from lrrun.schedules.catalogue import Entry, Parameter, Section
from lrrun.schedules.preview import preview
from lrrun.units import Fraction, Height, Length, Units

STEPS = 400
EVALUATE_EVERY = 10

INTRODUCTION = f"""# Schedules

<!-- Written by `python -m lrrun.render.gallery` from the docstrings; edit those. -->

Every schedule that a config can name. The pictures show the config line beside them over {STEPS}
steps, from a base LR of 1; plateau parts as what they do when nothing improves, evaluated every
{EVALUATE_EVERY} steps. Any schedule takes `warmup:` in front, `cooldown:` behind and `start:`;
lengths, heights and conventions are those of the [glossary](glossary.md). `base` is the param
group's base LR, `start` the LR of the part's step 0, `s` the part's own step, from 0, and `D` its
length in steps.

    lrrun schedule "cosine warmup=5%" wsd --steps 10000

draws any of them in the terminal, and `--export torch|keras|optax|python` writes one as code that
needs nothing of lrrun.
"""

ORDER = ("shapes", "decays", "warmup", "cooldown", "wsd", "cycles", "plateau", "combine")
"""The modules in the order of their sections; all others follow."""

KINDS: dict[Any, str] = {
    Length: "length",
    Height: "height",
    Fraction: "fraction",
    Section: "schedule",
    Any: "expression",
    int: "whole number",
    float: "number",
    bool: "true or false",
    str: "text",
}

REQUIRED: dict[Any, Any] = {
    Length: "10%",
    Height: "10%",
    Fraction: 0.5,
    int: 2,
    float: 1.0,
    bool: True,
}
"""An argument of each kind, for schedules without an example of their own."""


def gallery() -> dict[str, str]:
    """The gallery's files: path below docs/ → text."""
    entries = [entry for name, entry in CATALOGUE.items() if "." not in name]
    pictures = {f"schedules/{entry.name}.svg": _picture(entry) for entry in entries}
    sections: dict[str, list[Entry]] = {}
    for entry in sorted(entries, key=_place):
        sections.setdefault(_section(entry), []).append(entry)
    text = [INTRODUCTION, _contents(sections)]
    for title, members in sections.items():
        text.append(f"## {title}\n")
        text += [_shown(entry) for entry in members]
    text.append(_other_libraries())
    return {"schedules.md": "\n".join(text), **pictures}


def example(entry: Entry) -> Spec:
    """A config's mapping that shows the schedule, and builds."""
    if entry.name in EXAMPLES:
        return {"name": entry.name, **EXAMPLES[entry.name]}
    needed = {p.name: _argument(p.kind) for p in entry.parameters.values() if p.required}
    return {"name": entry.name, **needed}


def in_order(names: Iterable[str]) -> list[str]:
    """Names of schedules in the gallery's order."""
    return sorted(names, key=lambda name: _place(CATALOGUE[name]))


def write(folder: Path) -> list[Path]:
    """Write the gallery into a docs folder; the files that are no longer part of it are removed."""
    new = {folder / path: text for path, text in gallery().items()}
    files.make_folders(folder / "schedules")
    for path, text in new.items():
        files.write_text(path, text)
    for stale in set((folder / "schedules").glob("*.svg")) - set(new):
        stale.unlink()
    return list(new)


def _argument(kind: Any) -> Any:
    origin, options = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return options[0]
    if origin is list:
        return [_argument(options[0])]
    return _argument(options[0]) if options else REQUIRED[kind]


def _picture(entry: Entry) -> str:
    schedule = build(parse(example(entry), path=()), 1.0, Units(STEPS, STEPS // 10))
    seen = preview(entry.name, schedule, STEPS, EVALUATE_EVERY)
    return drawing(seen.lr, seen.peak, entry.name)


def _place(entry: Entry) -> int:
    """Where a schedule stands: by the module that it is written in; other libraries' come last."""
    if "." in entry.name:
        return len(ORDER) + 1
    module = entry.build.__module__.split(".")[-1]
    return ORDER.index(module) if module in ORDER else len(ORDER)


def _section(entry: Entry) -> str:
    """What the module that a schedule is written in says that it holds."""
    module = sys.modules[entry.build.__module__]
    first = (inspect.getdoc(module) or "Others").split("\n\n", 1)[0]
    return re.split(r"[:.;]", " ".join(first.split()), maxsplit=1)[0]


def _contents(sections: dict[str, list[Entry]]) -> str:
    lines = []
    for title, members in sections.items():
        links = ", ".join(f"[{entry.name}](#{_anchor(entry.name)})" for entry in members)
        lines.append(f"- **{title}**: {links}")
    return "\n".join([*lines, f"- [Other libraries' names](#{_anchor(OTHER_NAMES)})\n"])


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def _shown(entry: Entry) -> str:
    summary, formula, source = _documented(entry)
    line = yaml.safe_dump(
        example(entry), default_flow_style=True, sort_keys=False, width=10_000, allow_unicode=True
    ).strip()
    parts = [
        f"### {entry.name}",
        f"![{entry.name}](schedules/{entry.name}.svg)",
        summary,
        *formula,
        f"```yaml\nscheduler: {line}\n```",
        *_parameters(entry),
    ]
    if entry.name in OTHERS:
        names = ", ".join(f"`{name}`" for name in OTHERS[entry.name])
        parts.append(f"In other libraries: {names}.")
    return "\n\n".join([*parts, *source]) + "\n"


def _documented(entry: Entry) -> tuple[str, list[str], list[str]]:
    """(summary, paragraphs, source) of a schedule's docstring."""
    paragraphs = (inspect.getdoc(entry.build) or entry.name).split("\n\n")
    source = [each for each in paragraphs[1:] if each.startswith("Source:")]
    formula = [each for each in paragraphs[1:] if each not in source and ">>>" not in each]
    return paragraphs[0], [_plain(each) for each in formula], [_linked(each) for each in source]


def _plain(paragraph: str) -> str:
    """Text whose asterisks, underscores and brackets are meant, outside of `code`."""
    parts = paragraph.split("`")
    parts[::2] = [re.sub(r"([*_<|])", r"\\\1", each) for each in parts[::2]]
    return "`".join(parts)


def _linked(source: str) -> str:
    return re.sub(r"(https?://[^\s,;]*[^\s,;.])", r"<\1>", source)


def _parameters(entry: Entry) -> Iterator[str]:
    if not entry.parameters:
        return
    rows = ["| parameter | kind | default |", "|---|---|---|"]
    for parameter in entry.parameters.values():
        rows.append(f"| `{parameter.name}` | {_kind(parameter.kind)} | {_default(parameter)} |")
    yield "\n".join(rows)


def _kind(kind: Any) -> str:
    """A parameter's kind in words."""
    if kind in KINDS:
        return KINDS[kind]
    origin, options = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return ", ".join(f"`{each}`" for each in options)
    if origin is list:
        return f"list: {_kind(options[0])}"
    return " or ".join(_kind(each) for each in options if each is not type(None))


def _default(parameter: Parameter) -> str:
    if parameter.required:
        return "needed"
    if parameter.default is None:
        return ""
    shown = str(parameter).partition("=")[2]
    return f"`{shown.strip(chr(39))}`"


OTHER_NAMES = "Other libraries' names"


def _other_libraries() -> str:
    """Every name of another library, with its line."""
    lines = [
        f"## {OTHER_NAMES}\n",
        "With the library's own arguments, defaults and values, past the end included; a bare name",
        "of torch's needs no prefix.\n",
    ]
    library = ""
    for name in sorted((name for name in CATALOGUE if "." in name), key=str.lower):
        if name.split(".")[0] != library:
            library = name.split(".")[0]
            lines.append(f"\n### {library}\n")
        lines.append(f"- `{name}`: {_plain(CATALOGUE[name].summary)}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    written = write(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("docs"))
    print(f"{len(written)} files")

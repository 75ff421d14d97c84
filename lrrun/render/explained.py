"""How one component looks when it is explained."""

from __future__ import annotations

import yaml
from rich.console import Console
from rich.text import Text

from lrrun.config.explained import Explained
from lrrun.render.gallery import example
from lrrun.render.tables import Column, print_columns
from lrrun.render.terminal import printable
from lrrun.schedules import CATALOGUE
from lrrun.schedules.spec import ENVELOPE


def print_explained(console: Console, explained: Explained) -> None:
    """What it is, its keys, and for a schedule of ours a config line that builds."""
    console.print(Text(f"{printable(explained.name)}: {explained.kind}", "bold"))
    for paragraph in explained.text:
        console.print(Text(printable(paragraph)))
    keys = explained.keys
    if keys:
        console.print()
        titles = ("key", "may be", "default", "meaning")
        cells = ([getattr(key, name) for key in keys] for name in ("name", "kind", "default"))
        columns = [Column(title, each) for title, each in zip(titles, cells, strict=False)]
        if any(key.meaning for key in keys):
            columns.append(Column(titles[-1], [key.meaning for key in keys]))
        print_columns(console, columns)
    if explained.kind == "scheduler":
        _print_use(console, explained.name)


def _print_use(console: Console, name: str) -> None:
    """What any part takes beside its own keys, and an example."""
    console.print(Text(f"\nAny part also takes {', '.join(ENVELOPE[1:])}."))
    if "." in name:
        return
    written = yaml.safe_dump(
        example(CATALOGUE[name]), default_flow_style=True, sort_keys=False, width=10_000
    )
    console.print(Text(f"scheduler: {written.strip()}"), soft_wrap=True)

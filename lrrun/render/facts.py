"""A heading and key-value lines under it, as `check` and `doctor` print them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lrrun.render.terminal import printable


def print_facts(console: Console, title: str, facts: Mapping[str, Any]) -> None:
    """Print one line a fact, keys aligned, long values folded beside their key."""
    console.print(printable(title), style="bold", soft_wrap=True)
    table = Table.grid(padding=(0, 2))
    for key, value in facts.items():
        table.add_row(Text(printable(key), "cyan"), Text(printable(str(value))))
    console.print(table)


def print_findings(console: Console, findings: Iterable[object]) -> None:
    """Print what lint found, a line each; nothing where it found nothing."""
    for finding in findings:
        console.print(Text(f"note: {printable(str(finding))}", "yellow"), soft_wrap=True)

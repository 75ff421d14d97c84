"""The console that everything is printed to, and text made fit for it."""

from __future__ import annotations

import codecs
import os
import sys
from typing import TextIO

from rich.console import Console

PLAIN_WIDTH = 100
"""Columns where there is no terminal to ask and COLUMNS is not set."""

LEAST_WIDTH = 40
"""A narrower terminal folds the lines: a table without its first column says nothing."""


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Let the command say that its reader has gone; rich would end it with exit code 1."""
        raise BrokenPipeError


def make_console(file: TextIO | None = None, width: int | None = None) -> Console:
    """A console on `file` (standard output by default): plain unless it is a terminal.

    NO_COLOR, FORCE_COLOR and COLUMNS are honoured. Text is data: markup, emoji codes and
    highlighting are off. A character that the stream cannot carry is written as its escape.
    """
    stream = sys.stdout if file is None else file
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None and not _is_unicode(getattr(stream, "encoding", None)):
        reconfigure(errors="backslashreplace")
    if width is None and not stream.isatty() and "COLUMNS" not in os.environ:
        width = PLAIN_WIDTH
    console = _Console(file=file, width=width, markup=False, emoji=False, highlight=False)
    console.width = max(console.width, LEAST_WIDTH)
    return console


def supports_unicode(console: Console) -> bool:
    """True where the console's stream can carry every character."""
    return _is_unicode(console.encoding)


def has_color(console: Console) -> bool:
    """True where colours reach the reader."""
    return console.color_system is not None and not console.no_color


def _is_unicode(encoding: str | None) -> bool:
    try:
        return codecs.lookup(encoding or "ascii").name.startswith("utf")
    except LookupError:
        return False


def printable(text: str) -> str:
    r"""`text` with everything that is not a visible character written as its escape.

    Control characters, terminal sequences, direction marks and undecodable bytes of file names are
    shown, never obeyed.

    >>> printable("digits\x1b[2J-\udcff")
    'digits\\x1b[2J-\\udcff'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)

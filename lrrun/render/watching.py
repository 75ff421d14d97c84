"""Drawing what happens while it is handed on, for as long as somebody can see it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

Event = TypeVar("Event")
Drawn = TypeVar("Drawn", contravariant=True)


class View(Protocol[Drawn]):
    """Draws one event after another."""

    def show(self, event: Drawn, /) -> None:
        """Draw it; raises OSError where nobody reads, or the disk behind the reader is full."""
        ...

    def close(self) -> None:
        """End the drawing."""
        ...


def watched(events: Iterable[Event], view: View[Event]) -> Iterator[Event]:
    """Hand the events on, drawing them as they pass.

    A reader that has gone, or a full disk behind it, ends the drawing and never what is drawn.
    """
    drawn: View[Event] | None = view
    try:
        for event in events:
            if drawn is not None:
                try:
                    drawn.show(event)
                except OSError:
                    drawn.close()
                    drawn = None
            yield event
    finally:
        if drawn is not None:
            drawn.close()

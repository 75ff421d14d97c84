"""What is raised where replicas cannot be stacked."""

from __future__ import annotations

from lrrun.errors import LrrunError


class NotFusable(LrrunError):
    """Replicas cannot train as one stacked model; `operation` says because of what.

    Whoever meets it trains the replicas one by one.
    """

    def __init__(self, operation: str) -> None:
        self.operation = operation
        super().__init__(f"replicas cannot be fused: {operation}")

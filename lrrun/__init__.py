"""lrrun: choose, run, compare and understand learning rates and learning-rate schedules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lrrun.training.torch_scheduler import torch_scheduler

__version__ = "0.1.0"
__all__ = ["__version__", "torch_scheduler"]


def __getattr__(name: str) -> Any:
    """`lrrun.torch_scheduler` needs torch, which only those who use it should load."""
    if name == "torch_scheduler":
        from lrrun.training.torch_scheduler import torch_scheduler

        return torch_scheduler
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

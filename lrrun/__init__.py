"""lrrun: choose, run, compare and understand learning rates and learning-rate schedules."""

__version__ = "0.1.0"

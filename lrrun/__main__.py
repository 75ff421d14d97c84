"""`python -m lrrun` is the `lrrun` command."""

from lrrun.cli.main import run

run()

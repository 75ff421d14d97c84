"""`lrrun` and `python -m lrrun`: the command line, with Ctrl-C heard while its modules load."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; Ctrl-C ends it with exit code 130 and no traceback."""
    try:
        from lrrun.cli.main import run

        run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()

"""`lrrun doctor`: is everything here that training needs?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lrrun.cli.options import DEFAULT_RUNS_DIR, JsonFlag, RunsDir


def doctor(runs_dir: RunsDir = DEFAULT_RUNS_DIR, json_output: JsonFlag = False) -> None:
    """Show versions, devices, threads and whether runs can be written."""
    from lrrun.training.provenance import environment

    facts: dict[str, Any] = {**environment(), "runs folder": _writable(runs_dir)}
    if json_output:
        from lrrun.runlog import strict_json

        print(strict_json.dumps(facts))
        return
    from lrrun.render.facts import print_facts
    from lrrun.render.terminal import make_console

    print_facts(make_console(), "lrrun doctor", facts)


def _writable(folder: Path) -> str:
    """Whether a run could be written there, in words; nothing is."""
    import os
    import shutil

    there = folder.resolve()
    while not there.exists():
        there = there.parent
    if not os.access(there, os.W_OK):
        return f"{folder}: {there} is not writable; choose another with --runs-dir"
    free = shutil.disk_usage(there).free / 1e9
    return f"{folder}: writable, {free:.1f} GB free"

"""The guide, docs/choosing.md, and its pictures, from runs made anew.

    python benchmarks/guide/write.py [--runs FOLDER]

`--runs` keeps the runs in a folder, and takes what it holds already. Ends with 1 where a sentence
of the guide is no longer what the numbers say; the guide is written all the same.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from string import Template

import changes
import sentences
import tables
from experiments import EXPERIMENTS, ROOT, TASKS, run_all, shown
from figures import Places, draw_all

DOCS = ROOT / "docs"
TEMPLATE = Path(__file__).parent / "choosing.md"


def values(places: Places, claims: sentences.Claims) -> Iterator[tuple[str, str]]:
    """Name → what the template has there."""
    yield "tasks", TASKS
    yield "versions", f"torch {version('torch')}, Python {platform.python_version()}, on a CPU"
    for name in EXPERIMENTS:
        yield f"cmd_{name.replace('-', '_')}", shown(name)
    for table in (
        tables.grid,
        tables.find,
        tables.rules,
        tables.shapes,
        tables.schedules,
        tables.forgiving,
        tables.headroom,
        tables.early,
        tables.often,
        tables.overfitting,
    ):
        yield f"table_{table.__name__}", table(places)
    for name, (key, second) in tables.RESPONSES.items():
        table_of = tables.responses(places[name], key, second)
        yield f"table_{name.replace('-', '_')}", table_of
    for text in (*sentences.ALL, *changes.ALL):
        yield f"text_{text.__name__}", text(places, claims)


def write(runs: Path) -> list[str]:
    """Run what is not there, write the guide; the sentences that the numbers speak against."""
    places = run_all(runs)
    claims = sentences.Claims()
    filled = Template(TEMPLATE.read_text("utf-8")).substitute(dict(values(places, claims)))
    (DOCS / "choosing").mkdir(exist_ok=True)
    draw_all(places, DOCS / "choosing")
    (DOCS / "choosing.md").write_text(filled, "utf-8")
    return claims.broken


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--runs", type=Path, help="keep the runs in this folder")
    given = asked.parse_args()
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        runs = given.runs or Path(folder)
        runs.mkdir(parents=True, exist_ok=True)
        broken = write(runs.resolve())
    print(f"docs/choosing.md after {time.perf_counter() - begun:.0f} s")
    if broken:
        raise SystemExit("\n".join(["the numbers no longer bear out:", *broken]))


if __name__ == "__main__":
    main()

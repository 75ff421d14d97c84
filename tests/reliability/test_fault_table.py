"""docs/faults.md names, for every fault, tests that are there."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]


def test_every_test_that_the_table_names_is_there() -> None:
    table = (TESTS.parent / "docs" / "faults.md").read_text()
    named = re.findall(r"`([a-z_/]+\.py)(?:::(test_\w+))?`", table)
    rows = [line for line in table.splitlines()[8:] if line.startswith("|")]
    assert len(named) >= len(rows) >= 26
    for file, test in named:
        if file.startswith(("tests/", "benchmarks/")):
            assert (TESTS.parent / file).is_file()
        else:
            assert re.search(rf"^def {test}", (TESTS / file).read_text(), re.M), f"{file}::{test}"

"""docs/faults.md names, for every fault and every bad input, tests that are there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs" / "faults.md").read_text("utf-8")
FAULTS, INPUTS = PAGE.split("\n## ")[1:]


def rows(section: str) -> list[str]:
    """The rows of a section's table, without its head."""
    return [line for line in section.splitlines() if line.startswith("| ")][2:]


def named(text: str) -> Iterator[tuple[str, str]]:
    """Files below tests/, and functions in them."""
    for file, test in re.findall(r"`([a-z_/]+\.py)(?:::(test_\w+))?`", text):
        if not file.startswith("benchmarks/"):
            yield file, test


def test_every_test_that_the_page_names_is_there() -> None:
    for file, test in named("".join(rows(FAULTS) + rows(INPUTS))):
        assert re.search(rf"^def {test}\(", (TESTS / file).read_text("utf-8"), re.M), (file, test)


def test_every_fault_has_a_test() -> None:
    assert len(rows(FAULTS)) >= 27
    for row in rows(FAULTS):
        assert [*named(row)], row


def test_every_bad_input_has_a_case_of_its_number() -> None:
    """In the names of parameters (`"B07 repeated"`) or of the test itself (`test_b02_...`)."""
    numbers = [row.split(" ")[1] for row in rows(INPUTS)]
    assert numbers == [f"B{k:02}" for k in range(1, 71)]
    for number, row in zip(numbers, rows(INPUTS), strict=True):
        tests = [*named(row)]
        assert tests, row
        numbered = [(file, test) for file, test in tests if file.startswith("reliability/test_bad")]
        for file, test in numbered:
            case = f'"{number} ' in (TESTS / file).read_text("utf-8")
            assert case or number.lower() in test.split("_"), row
